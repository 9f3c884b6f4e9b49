//! Entry points for fuzzers: they must return, whatever the bytes are.

use model::LabelsBuilder;

use crate::{Draft, Fields, NameValidationScheme, process};

/// Rules of seven lines each (action, sources between commas, separator, regular expression, modulus, target label,
/// replacement; an empty line is an absent field) over labels that are their own texts.
pub fn fuzz_relabel(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    let mut rules = Vec::new();
    for (i, rule) in lines.chunks(7).take(8).enumerate() {
        let field = |n: usize| rule.get(n).copied().filter(|f| !f.is_empty()).map(str::to_owned);
        let fields = Fields {
            action: field(0).map(Some),
            source_labels: field(1).map(|names| names.split(',').map(str::to_owned).collect()),
            separator: field(2),
            regex: field(3),
            modulus: field(4).and_then(|n| n.parse().ok()),
            target_label: field(5),
            replacement: field(6),
        };
        let scheme = if i % 2 == 0 { NameValidationScheme::Utf8 } else { NameValidationScheme::Legacy };
        rules.extend(Draft::new(fields).ok().and_then(|draft| draft.validate(scheme).ok()));
    }
    let mut builder = LabelsBuilder::default();
    for line in lines.iter().filter(|line| !line.is_empty()).take(16) {
        builder.set(line, line);
    }
    let before: Vec<_> = builder.iter().map(|(name, _)| name.to_owned()).collect();
    // Either verdict is fine; where nothing sets labels, none may appear.
    let sets = rules.iter().any(|rule| !rule.replacement().is_empty());
    let kept = process(&rules, &mut builder);
    assert!(sets || builder.iter().all(|(name, _)| before.iter().any(|b| b == name)), "{kept:?}");
}
