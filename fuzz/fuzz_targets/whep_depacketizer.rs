#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchtower::whep::fuzz::depacketizer(data));
