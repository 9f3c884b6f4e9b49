//! See fuzz/README.md.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| const { corpus::target(env!("CARGO_BIN_NAME")) }(data));
