//! Unicode 15.0, which Go knows, out of Unicode 16.0, which `regex-syntax` knows.
//!
//! Everything newer is cut away by the property `Age`; the few characters whose properties changed between the two are named
//! below. Found by comparing every category, script and case orbit of Go 1.26 with these tables; after this, none differs.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

/// Scripts of Unicode 15.0 by the names that Go has; sorted. Go takes no other spelling.
#[rustfmt::skip]
const SCRIPTS: &[&str] = &[
    "Adlam", "Ahom", "Anatolian_Hieroglyphs", "Arabic", "Armenian", "Avestan", "Balinese", "Bamum", "Bassa_Vah",
    "Batak", "Bengali", "Bhaiksuki", "Bopomofo", "Brahmi", "Braille", "Buginese", "Buhid", "Canadian_Aboriginal",
    "Carian", "Caucasian_Albanian", "Chakma", "Cham", "Cherokee", "Chorasmian", "Common", "Coptic", "Cuneiform",
    "Cypriot", "Cypro_Minoan", "Cyrillic", "Deseret", "Devanagari", "Dives_Akuru", "Dogra", "Duployan",
    "Egyptian_Hieroglyphs", "Elbasan", "Elymaic", "Ethiopic", "Georgian", "Glagolitic", "Gothic", "Grantha", "Greek",
    "Gujarati", "Gunjala_Gondi", "Gurmukhi", "Han", "Hangul", "Hanifi_Rohingya", "Hanunoo", "Hatran", "Hebrew",
    "Hiragana", "Imperial_Aramaic", "Inherited", "Inscriptional_Pahlavi", "Inscriptional_Parthian", "Javanese",
    "Kaithi", "Kannada", "Katakana", "Kawi", "Kayah_Li", "Kharoshthi", "Khitan_Small_Script", "Khmer", "Khojki",
    "Khudawadi", "Lao", "Latin", "Lepcha", "Limbu", "Linear_A", "Linear_B", "Lisu", "Lycian", "Lydian", "Mahajani",
    "Makasar", "Malayalam", "Mandaic", "Manichaean", "Marchen", "Masaram_Gondi", "Medefaidrin", "Meetei_Mayek",
    "Mende_Kikakui", "Meroitic_Cursive", "Meroitic_Hieroglyphs", "Miao", "Modi", "Mongolian", "Mro", "Multani",
    "Myanmar", "Nabataean", "Nag_Mundari", "Nandinagari", "New_Tai_Lue", "Newa", "Nko", "Nushu",
    "Nyiakeng_Puachue_Hmong", "Ogham", "Ol_Chiki", "Old_Hungarian", "Old_Italic", "Old_North_Arabian", "Old_Permic",
    "Old_Persian", "Old_Sogdian", "Old_South_Arabian", "Old_Turkic", "Old_Uyghur", "Oriya", "Osage", "Osmanya",
    "Pahawh_Hmong", "Palmyrene", "Pau_Cin_Hau", "Phags_Pa", "Phoenician", "Psalter_Pahlavi", "Rejang", "Runic",
    "Samaritan", "Saurashtra", "Sharada", "Shavian", "Siddham", "SignWriting", "Sinhala", "Sogdian", "Sora_Sompeng",
    "Soyombo", "Sundanese", "Syloti_Nagri", "Syriac", "Tagalog", "Tagbanwa", "Tai_Le", "Tai_Tham", "Tai_Viet",
    "Takri", "Tamil", "Tangsa", "Tangut", "Telugu", "Thaana", "Thai", "Tibetan", "Tifinagh", "Tirhuta", "Toto",
    "Ugaritic", "Vai", "Vithkuqi", "Wancho", "Warang_Citi", "Yezidi", "Yi", "Zanabazar_Square",
];

/// General categories by the names that Go has; sorted.
#[rustfmt::skip]
const CATEGORIES: &[&str] = &[
    "C", "Cc", "Cf", "Cn", "Co", "Cs", "L", "LC", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No",
    "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs",
];

/// Other names of categories, as [`canonical`] makes them; sorted.
#[rustfmt::skip]
const ALIASES: &[(&str, &str)] = &[
    ("Casedletter", "LC"), ("Closepunctuation", "Pe"), ("Cntrl", "Cc"), ("Combiningmark", "M"),
    ("Connectorpunctuation", "Pc"), ("Control", "Cc"), ("Currencysymbol", "Sc"), ("Dashpunctuation", "Pd"),
    ("Decimalnumber", "Nd"), ("Digit", "Nd"), ("Enclosingmark", "Me"), ("Finalpunctuation", "Pf"), ("Format", "Cf"),
    ("Initialpunctuation", "Pi"), ("Letter", "L"), ("Letternumber", "Nl"), ("Lineseparator", "Zl"),
    ("Lowercaseletter", "Ll"), ("Mark", "M"), ("Mathsymbol", "Sm"), ("Modifierletter", "Lm"),
    ("Modifiersymbol", "Sk"), ("Nonspacingmark", "Mn"), ("Number", "N"), ("Openpunctuation", "Ps"), ("Other", "C"),
    ("Otherletter", "Lo"), ("Othernumber", "No"), ("Otherpunctuation", "Po"), ("Othersymbol", "So"),
    ("Paragraphseparator", "Zp"), ("Privateuse", "Co"), ("Punct", "P"), ("Punctuation", "P"), ("Separator", "Z"),
    ("Spaceseparator", "Zs"), ("Spacingmark", "Mc"), ("Surrogate", "Cs"), ("Symbol", "S"), ("Titlecaseletter", "Lt"),
    ("Unassigned", "Cn"), ("Uppercaseletter", "Lu"),
];

/// Which names of classes are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassNames {
    /// As they are written in the tables: Go before 1.25, and the copy of its parser that Prometheus has for matchers.
    Exact,
    /// In any case, with or without `_`, `-` and spaces, and by aliases: Go since 1.25. Scripts whose own names have an
    /// underscore or a second capital are then unknown to Go, and so they are here.
    Loose,
}

/// Those to which Go adds the case variants of their members under `(?i)`: it has no entry for the others, not even for `LC`.
const FOLDED: &[&str] = &["Common", "Greek", "Inherited", "L", "Ll", "Lt", "Lu", "M", "Mn"];

/// Became `Mc` in Unicode 16.0, was `Mn` before.
const AHOM_VOWEL_E: char = '\u{1171E}';

/// Pairs that fold together since Unicode 15.1.
const NOT_YET_FOLDED: [char; 6] = ['\u{390}', '\u{3B0}', '\u{1FD3}', '\u{1FE3}', '\u{FB05}', '\u{FB06}'];

/// Code points that Unicode 15.0 has given a meaning.
static KNOWN: LazyLock<ClassUnicode> = LazyLock::new(|| query(r"\p{age=15.0}"));

/// Code points to which case folding may apply.
static FOLDABLE: LazyLock<ClassUnicode> = LazyLock::new(|| {
    let mut foldable = KNOWN.clone();
    foldable.difference(&ClassUnicode::new(NOT_YET_FOLDED.map(|c| ClassUnicodeRange::new(c, c))));
    foldable
});

/// `\pL` and `\p{Nd}`.
static LETTERS_AND_DIGITS: LazyLock<ClassUnicode> = LazyLock::new(|| {
    let mut class = query(r"[\p{gc=L}\p{gc=Nd}]");
    class.intersect(&KNOWN);
    class
});

/// All characters.
pub(crate) fn any() -> ClassUnicode {
    ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)])
}

/// A capital, small letters, nothing between them: how Go looks names up.
fn canonical(name: &str) -> String {
    let mut canonical = String::with_capacity(name.len());
    for c in name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')) {
        canonical.push(if canonical.is_empty() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() });
    }
    canonical
}

/// The class that Go calls `\p{name}`; `fold` where `(?i)` is on.
pub(crate) fn named(name: &str, fold: bool, names: ClassNames) -> Option<ClassUnicode> {
    if names == ClassNames::Exact {
        return exactly_named(name, fold);
    }
    let name = canonical(name);
    match name.as_str() {
        "Assigned" => {
            let mut class = exactly_named("Cn", fold)?;
            class.negate();
            Some(class)
        }
        "Ascii" => {
            let mut class = ClassUnicode::new([ClassUnicodeRange::new('\0', '\x7f')]);
            if fold {
                add_folds(&mut class);
            }
            Some(class)
        }
        "Lc" => exactly_named("LC", fold),
        name => exactly_named(name, fold).or_else(|| {
            let at = ALIASES.binary_search_by(|(alias, _)| (*alias).cmp(name)).ok()?;
            exactly_named(ALIASES[at].1, fold)
        }),
    }
}

fn exactly_named(name: &str, fold: bool) -> Option<ClassUnicode> {
    if name == "Any" {
        return Some(any());
    }
    let key = if CATEGORIES.binary_search(&name).is_ok() {
        "gc"
    } else if SCRIPTS.binary_search(&name).is_ok() {
        "sc"
    } else {
        return None;
    };
    if name == "Cs" {
        return Some(ClassUnicode::empty()); // surrogates, which no text has
    }
    let mut class = query(&format!(r"\p{{{key}={name}}}"));
    if name == "C" || name == "Cn" {
        let mut newer = KNOWN.clone();
        newer.negate();
        class.union(&newer);
    } else {
        class.intersect(&KNOWN);
    }
    let vowel = ClassUnicode::new([ClassUnicodeRange::new(AHOM_VOWEL_E, AHOM_VOWEL_E)]);
    match name {
        "Mn" => class.union(&vowel),
        "Mc" => class.difference(&vowel),
        _ => {}
    }
    if fold && FOLDED.contains(&name) {
        add_folds(&mut class);
    }
    Some(class)
}

/// Adds the case variants of every member.
pub(crate) fn add_folds(class: &mut ClassUnicode) {
    let mut folds = class.clone();
    folds.intersect(&FOLDABLE);
    // Fails only where `regex-syntax` is built without the tables, which this crate's features rule out.
    folds.try_case_fold_simple().expect("case folding tables are built in");
    folds.intersect(&FOLDABLE);
    class.union(&folds);
}

/// The character and its case variants.
pub(crate) fn orbit(c: char) -> ClassUnicode {
    let itself = ClassUnicodeRange::new(c, c);
    match c {
        'a'..='z' | 'A'..='Z' if !matches!(c, 'k' | 'K' | 's' | 'S') => {
            let (upper, lower) = (c.to_ascii_uppercase(), c.to_ascii_lowercase());
            ClassUnicode::new([ClassUnicodeRange::new(upper, upper), ClassUnicodeRange::new(lower, lower)])
        }
        '\0'..='\x7f' if !c.is_ascii_alphabetic() => ClassUnicode::new([itself]),
        _ => {
            let mut class = ClassUnicode::new([itself]);
            add_folds(&mut class);
            class
        }
    }
}

/// Whether Go's `unicode.IsLetter` or `unicode.IsDigit` says so.
pub(crate) fn is_letter_or_digit(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    let ranges = LETTERS_AND_DIGITS.ranges();
    let at = ranges.partition_point(|r| r.end() < c);
    ranges.get(at).is_some_and(|r| r.start() <= c)
}

/// The class that `pattern`, which is one of this file's, stands for in `regex-syntax`.
fn query(pattern: &str) -> ClassUnicode {
    let hir = regex_syntax::parse(pattern).expect("names and tables are those of regex-syntax");
    match hir.into_kind() {
        HirKind::Class(Class::Unicode(class)) => class,
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).expect("a class of one character");
            ClassUnicode::new(text.chars().map(|c| ClassUnicodeRange::new(c, c)))
        }
        other => unreachable!("{pattern} is a class and not {other:?}"),
    }
}

#[cfg(test)]
mod tests;
