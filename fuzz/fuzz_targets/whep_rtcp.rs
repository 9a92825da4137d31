#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchtower::playback::fuzz::rtcp(data));
