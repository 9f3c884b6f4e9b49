//! Every target runs its corpus, and mutations of it. `fuzz/README.md` says how to look for more.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use corpus::{Run, TARGETS, target};

/// Mutations of each file; with all of them the test takes some seconds in a debug build.
const MUTATIONS: usize = 24;

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let name = |e: std::io::Result<fs::DirEntry>| e.ok()?.file_name().into_string().ok();
    entries.map(|e| name(e).expect("a file with a name in UTF-8")).collect()
}

/// The files of a target's corpus by name.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz_folder().join("corpus").join(name);
    let read = |file: String| {
        let bytes = fs::read(folder.join(&file)).expect("a seed is a file");
        (file, bytes)
    };
    names_in(&folder).into_iter().map(read).collect()
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).expect("31 bits") % n
    }

    fn byte(&mut self) -> u8 {
        // What formats treat specially comes up more often than by chance.
        const SPECIAL: &[u8] = b"\x00\x01\x7f\x80\xff\n \"\\{}[](),:;=-+.0e9_#&*%";
        let any = self.below(256);
        if self.below(2) == 0 { SPECIAL[any % SPECIAL.len()] } else { u8::try_from(any).expect("below 256") }
    }

    /// Changes some bytes, cuts, doubles a part, or takes a part of `other` in.
    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = bytes.len().min(at + self.below(16));
            match self.below(7) {
                0 | 1 if at < bytes.len() => bytes[at] = self.byte(),
                2 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                3 => bytes.insert(at, self.byte()),
                4 => drop(bytes.drain(at..end)),
                5 => {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                6 if !other.is_empty() => {
                    let from = self.below(other.len());
                    let part = &other[from..other.len().min(from + self.below(40))];
                    bytes.splice(at..at, part.iter().copied());
                }
                _ => bytes.truncate(at.max(bytes.len() / 2)),
            }
        }
    }
}

/// What a panic would not tell: which input it was.
struct Telling<'a>(&'a str, &'a str, &'a [u8]);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("target {}, from {}: {:?}", self.0, self.1, String::from_utf8_lossy(self.2));
            eprintln!("bytes: {:02x?}", self.2);
        }
    }
}

fn run_told(run: Run, name: &str, file: &str, bytes: &[u8]) {
    let telling = Telling(name, file, bytes);
    run(telling.2);
}

#[test]
fn every_target_has_a_corpus_and_a_fuzz_target() {
    let fuzz = fuzz_folder();
    let table: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(table.len(), TARGETS.len(), "a name stands twice in the table");
    assert_eq!(names_in(&fuzz.join("corpus")), table, "the folders of fuzz/corpus are not the targets of the table");
    let programs: BTreeSet<String> = table.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names_in(&fuzz.join("fuzz_targets")), programs, "fuzz/fuzz_targets are not the targets of the table");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let readme = fs::read_to_string(fuzz.join("README.md")).unwrap();
    for name in &table {
        assert!(manifest.contains(&format!("[[bin]]\nname = \"{name}\"\n")), "fuzz/Cargo.toml does not name {name}");
        assert!(readme.contains(&format!("`{name}`")), "fuzz/README.md does not name {name}");
        assert!(!corpus(name).is_empty(), "the corpus of {name} is empty");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), table.len(), "fuzz/Cargo.toml names another target");
}

/// Functions of modules `fuzzing` that are no targets, and why.
const NO_TARGETS: &[(&str, &str)] = &[
    ("block::fuzzing::fuzz_index_and_chunks", "called by fuzz_files, which takes one text of bytes"),
    ("chaos::fuzzing::fuzz_account", "no part of the program: chaos reads its own files; run by its tests"),
    ("chaos::fuzzing::fuzz_request", "no part of the program: chaos reads its own requests; run by its tests"),
    ("exposition::fuzzing::fuzz_cache", "called by fuzz_cached_pages, which takes one text of bytes"),
];

/// Calls `f` with the crate and text of every source file below `folder`, which lies in crate `of`.
fn for_every_source(folder: &Path, of: &str, f: &mut dyn FnMut(&str, &str)) {
    let own = folder.join("Cargo.toml").exists().then(|| folder.file_name().and_then(|name| name.to_str()));
    let of = own.flatten().unwrap_or(of);
    for name in names_in(folder) {
        let path = folder.join(&name);
        if path.is_dir() {
            for_every_source(&path, of, f);
        } else if name.ends_with(".rs") {
            f(of, &fs::read_to_string(&path).expect("a source is text"));
        }
    }
}

#[test]
fn every_function_for_fuzzers_is_in_the_table() {
    let root = fuzz_folder().join("..");
    let mut found = BTreeSet::new();
    for folder in ["benches", "chaos", "crates", "proto", "services", "tests", "tools"] {
        for_every_source(&root.join(folder), "", &mut |of, text| {
            let begins =
                |line: &str| Some(line.trim_start().strip_prefix("pub fn fuzz_")?.split_once('(')?.0.to_owned());
            found.extend(text.lines().filter_map(begins).map(|name| format!("{of}::fuzzing::fuzz_{name}")));
        });
    }
    assert!(found.len() > 50, "the sources are elsewhere: {found:?}");
    let source = fs::read_to_string(root.join("tests/corpus/src/lib.rs")).unwrap();
    let in_table = |name: &str| source.contains(&format!(", {name}),"));
    for (name, _) in NO_TARGETS {
        assert!(found.remove(*name) && !in_table(name), "{name} is gone or is a target");
    }
    let forgotten: Vec<_> = found.iter().filter(|name| !in_table(name)).collect();
    assert!(forgotten.is_empty(), "not in the table of tests/corpus/src/lib.rs: {forgotten:?}");
}

/// Calls `f` for every target; the test fails at the end, so that one run tells of all targets that fail.
fn for_every_target(f: impl Fn(&str, Run) + std::panic::RefUnwindSafe) {
    let fails = |(name, run): &&(&str, Run)| std::panic::catch_unwind(|| f(name, *run)).is_err();
    let failed: Vec<&str> = TARGETS.iter().filter(fails).map(|(name, _)| *name).collect();
    assert!(failed.is_empty(), "these targets fail: {failed:?}");
}

#[test]
fn every_corpus_runs() {
    for_every_target(|name, run| {
        assert!(std::ptr::fn_addr_eq(target(name), run));
        for (file, bytes) in corpus(name) {
            run_told(run, name, &file, &bytes);
        }
        run_told(run, name, "nothing", b"");
    });
}

#[test]
fn every_corpus_runs_mutated() {
    for_every_target(|name, run| {
        let files = corpus(name);
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for (file, bytes) in &files {
            for _ in 0..MUTATIONS {
                let mut bytes = bytes.clone();
                let other = random.below(files.len());
                random.mutate(&mut bytes, &files[other].1);
                run_told(run, name, file, &bytes);
            }
        }
    });
}
