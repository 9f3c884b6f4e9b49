//! The tables against Go's.
//!
//! `go.txt` was made once with Go 1.26 (Unicode 15.0): for each category and script its number of characters, the FNV-1a hash
//! of the bounds of its ranges (little-endian, surrogates left out), and the same of it with the case variants that Go adds
//! under `(?i)`; at the end, the same of all characters that fold, each with its sorted orbit and a zero.

use super::*;

struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, c: char) {
        for byte in u32::from(c).to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn sum(class: &ClassUnicode) -> String {
    let mut hash = Fnv::new();
    for range in class.ranges() {
        hash.add(range.start());
        hash.add(range.end());
    }
    let count: usize = class.ranges().iter().map(|r| (r.start()..=r.end()).count()).sum();
    format!("{count} {:016x}", hash.0)
}

#[test]
fn every_class_and_orbit_is_that_of_go() {
    let (mut classes, mut wrong) = (0, Vec::new());
    for line in include_str!("go.txt").lines() {
        let (name, sums) = line.split_once(' ').unwrap();
        let found = if name == "orbits" {
            let (mut hash, mut count) = (Fnv::new(), 0);
            for c in FOLDABLE.ranges().iter().flat_map(|r| r.start()..=r.end()).take_while(|&c| c < '\u{20000}') {
                let orbit = orbit(c);
                if orbit.ranges().iter().map(ClassUnicodeRange::len).sum::<usize>() > 1 {
                    count += 1;
                    orbit.ranges().iter().flat_map(|r| r.start()..=r.end()).for_each(|c| hash.add(c));
                    hash.add('\0');
                }
            }
            format!("{count} {:016x} {:016x}", hash.0, hash.0)
        } else {
            classes += 1;
            let class = |fold| sum(&named(name, fold, ClassNames::Exact).unwrap());
            format!("{} {}", class(false), class(true))
        };
        if found != sums {
            wrong.push(format!("{line}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((classes, CATEGORIES.len() + SCRIPTS.len()), (201, 201));
}

#[test]
fn names_are_taken_as_go_takes_them() {
    let known = |name, names| named(name, false, names).is_some();
    for (name, exact, loose) in [
        ("Greek", true, true),
        ("greek", false, true),
        ("GREEK", false, true),
        ("Old_Italic", true, false),
        ("olditalic", false, false),
        ("SignWriting", true, false),
        ("L", true, true),
        ("l", false, true),
        (" -l_", false, true),
        ("LC", true, true),
        ("lc", false, true),
        ("Letter", false, true),
        ("Uppercase_Letter", false, true),
        ("uppercase letter", false, true),
        ("cntrl", false, true),
        ("Any", true, true),
        ("ANY", false, true),
        ("ASCII", false, true),
        ("Assigned", false, true),
        ("", false, false),
        ("é", false, false),
        ("Emoji", false, false),
        ("Script=Greek", false, false),
    ] {
        assert_eq!((known(name, ClassNames::Exact), known(name, ClassNames::Loose)), (exact, loose), "{name}");
    }
    assert!(CATEGORIES.is_sorted() && SCRIPTS.is_sorted() && ALIASES.is_sorted() && ALIASES.len() == 42);
    assert!(ALIASES.iter().all(|(_, name)| CATEGORIES.contains(name)));
}
