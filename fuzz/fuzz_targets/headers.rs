#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cabana_agent::fuzzing::headers(bytes));
