//! Labels of series texts.

use super::*;
use crate::{Entry, Format, Parser};

fn labels(page: &str) -> Result<String, LabelsError> {
    let mut parser = Parser::new(Format::Text, page.as_bytes());
    let Ok(Some(Entry::Series(series))) = parser.next() else { panic!("{page}") };
    let mut scratch = LabelsScratch::new();
    series.labels(&mut scratch)?;
    Ok(scratch.to_labels()?.to_string())
}

#[test]
fn sets_are_what_a_scrape_of_prometheus_keeps() {
    for (page, expected) in [
        (r#"foo{b="1",a="2"} 1"#, r#"{__name__="foo", a="2", b="1"}"#),
        (r#"foo{a="",b="1"} 1"#, r#"{__name__="foo", b="1"}"#),
        // One empty value takes all of the name away.
        (r#"foo{a="",a="1"} 1"#, r#"{__name__="foo"}"#),
        (r#"foo{a="1",a="",a="2"} 1"#, r#"{__name__="foo"}"#),
        (r#"{""} 1"#, "{}"),
        (r#"  foo {a="1"} 1"#, r#"{__name__="  foo", a="1"}"#),
    ] {
        assert_eq!(labels(page).unwrap(), expected, "{page}");
    }
}

#[test]
fn what_is_no_set_is_refused() {
    assert_eq!(labels(r#"foo{a="1",a="2"} 1"#), Err(LabelsError::Duplicate("a".into())));
    assert_eq!(labels(r#"foo{b="",b="",a="1",a="2"} 1"#), Err(LabelsError::Duplicate("a".into())));
    assert_eq!(labels(r#"foo{__name__="bar"} 1"#), Err(LabelsError::Duplicate("__name__".into())));
    assert_eq!(labels(r#"foo{""="bar"} 1"#), Err(LabelsError::EmptyName));
    let mut parser = Parser::new(Format::Text, b"{\"\xff\"} 1\n");
    let Ok(Some(Entry::Series(series))) = parser.next() else { panic!("the parser does not look into names") };
    let mut scratch = LabelsScratch::new();
    assert_eq!(series.labels(&mut scratch), Err(LabelsError::NameNotUtf8(b"\xff"[..].into())));
}

#[test]
fn labels_of_a_remembered_text_are_found_again() {
    let page = b"# TYPE h histogram\nh{le=\"1\"} 1\n";
    let mut parser = Parser::new(Format::Text, page);
    while parser.next().unwrap().is_some() {}
    let mut scratch = LabelsScratch::new();
    parser.labels_of(b"h{le=\"2\"}", &mut scratch).unwrap();
    assert_eq!(scratch.iter().collect::<Vec<_>>(), [("__name__", "h"), ("le", "2.0")]);
}
