//! See fuzz/README.md.
#![no_main]

const RUN: corpus::Run = corpus::target(env!("CARGO_BIN_NAME"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| RUN(data));
