//! Letter case as Go's `strings.ToLower` and `strings.ToUpper` change it: character by character, by the simple mappings of
//! Unicode 15.0. Rust's own maps some characters to several (`ß` to `SS`) and knows newer ones.

/// `text` with each letter mapped to its lower case.
pub fn to_lower(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.chars().map(lower).collect() }
}

/// `text` with each letter mapped to its upper case.
pub fn to_upper(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_uppercase() } else { text.chars().map(upper).collect() }
}

fn lower(c: char) -> char {
    match c {
        'İ' => 'i',
        c => simple(c, c.to_lowercase()),
    }
}

fn upper(c: char) -> char {
    let shifted = |by| char::from_u32(u32::from(c) + by).unwrap_or(c);
    match c {
        // Greek letters with iota subscript: in full they become two letters, simply their title case.
        '\u{1F80}'..='\u{1F87}' | '\u{1F90}'..='\u{1F97}' | '\u{1FA0}'..='\u{1FA7}' => shifted(8),
        '\u{1FB3}' | '\u{1FC3}' | '\u{1FF3}' => shifted(9),
        c => simple(c, c.to_uppercase()),
    }
}

/// The mapped character; `c` where it maps to several or the mapping is newer than Unicode 15.0.
fn simple(c: char, mut mapped: impl ExactSizeIterator<Item = char>) -> char {
    match (mapped.len(), mapped.next()) {
        (1, Some(mapped)) if !is_newer(c) && !is_newer(mapped) => mapped,
        _ => c,
    }
}

/// Letters with case that came after Unicode 15.0, and two old ones whose other case did.
fn is_newer(c: char) -> bool {
    matches!(c,
        '\u{1C89}'..='\u{1C8A}' | '\u{A7CB}'..='\u{A7CF}' | '\u{A7D2}'..='\u{A7D5}' | '\u{A7DA}'..='\u{A7DC}'
        | '\u{10D50}'..='\u{10D85}' | '\u{16EA0}'..='\u{16ED3}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_mapped_one_by_one() {
        for (text, lower, upper) in [
            ("bAr123Foo", "bar123foo", "BAR123FOO"),
            ("Straße", "straße", "STRAßE"),
            ("ΣΊΣΥΦΟΣ", "σίσυφοσ", "ΣΊΣΥΦΟΣ"),
            ("İı", "iı", "İI"),
            ("ǅ", "ǆ", "Ǆ"),
            ("ᾳ", "ᾳ", "ᾼ"),
            ("ŉﬁ", "ŉﬁ", "ŉﬁ"),
            ("ɤ\u{A7CB}", "ɤ\u{A7CB}", "ɤ\u{A7CB}"),
        ] {
            assert_eq!((to_lower(text).as_str(), to_upper(text).as_str()), (lower, upper), "{text}");
        }
    }

    /// The FNV-1a hash of the lower and the upper case of every character, little-endian. Made with Go 1.26.
    #[test]
    fn every_character_maps_as_in_go() {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for c in '\0'..=char::MAX {
            for byte in [lower(c), upper(c)].into_iter().flat_map(|c| u32::from(c).to_le_bytes()) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        assert_eq!(format!("{hash:016x}"), "18278947e8e72bce");
    }
}
