#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchtower::ingest::fuzz::vpx_frames(data));
