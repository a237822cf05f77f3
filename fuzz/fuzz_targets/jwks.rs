#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cabana_worker::fuzzing::jwks(bytes));
