//! Fuzz targets' functions on stable Rust: every input of the corpus and
//! reproducible mutations of each.

use std::fs;
use std::path::Path;

use watchtower::ingest::fuzz;
use watchtower::playback::fuzz as whep;

/// Number of mutations of each corpus file.
const MUTATIONS: u64 = 300;

fn run(target: &str, function: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut inputs = Vec::new();
    for entry in fs::read_dir(&folder).expect("the target has a corpus") {
        let path = entry.expect("readable").path();
        inputs.push(fs::read(&path).expect("readable"));
    }
    assert!(!inputs.is_empty());
    inputs.sort_unstable();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (index, input) in inputs.iter().enumerate() {
        function(input);
        for _ in 0..MUTATIONS {
            let other = &inputs[(index + random.below(inputs.len())) % inputs.len()];
            function(&mutate(input, other, &mut random));
        }
    }
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn mutate(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            2 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            3 => bytes.truncate(at),
            4 => {
                let end = (at + random.below(64)).min(bytes.len());
                bytes.extend_from_within(at..end);
            }
            _ => {
                let from = random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

#[test]
fn rtmp_chunk() {
    run("rtmp_chunk", fuzz::chunk);
}

#[test]
fn rtmp_amf() {
    run("rtmp_amf", fuzz::amf);
}

#[test]
fn rtmp_session() {
    run("rtmp_session", fuzz::session);
}

#[test]
fn flv_tag() {
    run("flv_tag", fuzz::flv_tag);
}

#[test]
fn avc_config() {
    run("avc_config", fuzz::avc_config);
}

#[test]
fn vpx_frames() {
    run("vpx_frames", fuzz::vpx_frames);
}

#[test]
fn whep_stun() {
    run("whep_stun", whep::stun);
}

#[test]
fn whep_offer() {
    run("whep_offer", whep::offer);
}

#[test]
fn whep_packetizer() {
    run("whep_packetizer", whep::packetizer);
}

#[test]
fn whep_rtcp() {
    run("whep_rtcp", whep::rtcp);
}

#[test]
fn whep_tcp() {
    run("whep_tcp", whep::tcp);
}

#[test]
fn whep_depacketizer() {
    run("whep_depacketizer", whep::depacketizer);
}
