use std::collections::HashMap;
use std::net::UdpSocket;

use proptest::prelude::*;
use rtc::crypto::default_provider;
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;

use watchtower_transport::packetizer::Packet;
use watchtower_transport::srtp_keys::Tap;
use watchtower_transport::udp_mux::{Route, UdpMux};

use super::*;

const PROFILE: ProtectionProfile = ProtectionProfile::AeadAes128Gcm;

fn caches(full: &PacketCache) -> RenditionCaches<'_> {
    RenditionCaches { full, small: None }
}

struct Rig {
    port: UdpMux,
    sink: UdpSocket,
    viewer: Viewer,
    receiver: Context,
    history: PacketCache,
    now: Instant,
    pictures: u32,
    /// Protected packet received under each RTP sequence number.
    seen: HashMap<u16, Vec<u8>>,
}

impl Rig {
    fn new() -> Self {
        let provider = default_provider().expect("ring is built in");
        let tap = Tap::new(provider.clone());
        let context = |crypto: &dyn rtc::crypto::RTCCrypto| {
            Context::new(&[1; 16], &[2; 12], PROFILE, None, None, crypto).expect("valid keys")
        };
        drop(context(&tap));
        let keys = tap.take().expect("recorded keys");
        let protector = Protector::new(&keys, provider.crypto()).expect("valid keys");
        let sink = UdpSocket::bind("127.0.0.1:0").expect("bound");
        sink.set_nonblocking(true).expect("a socket");
        let here = "127.0.0.1:0".parse().expect("an address");
        let port = UdpMux::bind(here, provider.clone(), Arc::default());
        let line = IceSocket::new("fragment".to_owned(), "password".to_owned());
        let to = sink.local_addr().expect("bound");
        line.follow(to, &Route::Udp(to));
        let now = Instant::now();
        let rtp_stream = RtpStream::new(7, 102, 1000, 5000);
        Self {
            port: port.expect("bound"),
            sink,
            viewer: Viewer::new(1, Arc::new(line), protector, rtp_stream, None, now),
            receiver: context(provider.crypto()),
            history: PacketCache::default(),
            now,
            pictures: 0,
            seen: HashMap::new(),
        }
    }

    fn start(&mut self) {
        self.viewer.start(&self.history, self.now);
    }

    fn push(&mut self, keyframe: bool, packets: usize) {
        self.pictures += 1;
        self.now += Duration::from_millis(40);
        let packet = |nth| {
            let body = Bytes::from(format!("picture {} packet {nth}", self.pictures));
            Packet::whole(body, nth + 1 == packets)
        };
        let packets = (0..packets).map(packet).collect();
        self.history
            .push(packets, keyframe, 3600 * self.pictures, self.now);
    }

    /// A picture of 10 kB.
    fn push_large(&mut self) {
        self.pictures += 1;
        self.now += Duration::from_millis(40);
        let body = Bytes::from(vec![1; 1000]);
        let packets = (1..=10).map(|nth| Packet::whole(body.clone(), nth == 10));
        let time = 3600 * self.pictures;
        self.history.push(packets.collect(), false, time, self.now);
    }

    fn pump(&mut self) -> SendRound {
        let mut batch = GsoBatch::new(&self.port);
        let sent = self
            .viewer
            .pump(caches(&self.history), &mut batch, self.now);
        self.receive();
        sent.expect("room")
    }

    /// Asserts that every packet decrypts, and none differs the second time.
    fn receive(&mut self) -> Vec<(u16, u32, String)> {
        let mut packets = Vec::new();
        let mut buffer = [0; 2048];
        while let Ok(length) = self.sink.recv(&mut buffer) {
            let bytes = &buffer[..length];
            let sequence = u16::from_be_bytes([bytes[2], bytes[3]]);
            let time = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            let before = self.seen.insert(sequence, bytes.to_vec());
            assert!(
                before.is_none_or(|before| before == bytes),
                "{sequence} twice"
            );
            let plain = self.receiver.decrypt_rtp(bytes).expect("authentic");
            let text = String::from_utf8_lossy(&plain[12..]).into_owned();
            packets.push((sequence, time, text));
        }
        packets
    }

    fn pump_and_receive(&mut self) -> Vec<(u16, u32, String)> {
        let mut batch = GsoBatch::new(&self.port);
        let sent = self
            .viewer
            .pump(caches(&self.history), &mut batch, self.now);
        sent.expect("room");
        self.receive()
    }
}

#[tokio::test]
async fn a_new_viewer_gets_the_group_squeezed_up_to_the_live_edge() {
    let mut rig = Rig::new();
    for nth in 0..5 {
        rig.push(nth == 1, 2);
    }
    rig.start();
    let got = rig.pump_and_receive();
    let texts: Vec<_> = got.iter().map(|(_, _, text)| text.as_str()).collect();
    assert_eq!(texts.first(), Some(&"picture 2 packet 0"));
    assert_eq!(got.len(), 8);
    let times: Vec<_> = got.iter().step_by(2).map(|(_, time, _)| *time).collect();
    let live = 1000 + 5 * 3600;
    assert_eq!(times, [live - 270, live - 180, live - 90, live]);
    let sequences: Vec<_> = got.iter().map(|(sequence, _, _)| *sequence).collect();
    assert_eq!(sequences, (5000..5008).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_missing_comes_again_as_it_was_and_nothing_else_does() {
    let mut rig = Rig::new();
    rig.push(true, 4);
    rig.start();
    assert_eq!(rig.pump().packets, 4);
    let mut batch = GsoBatch::new(&rig.port);
    let missing = [5001, 5003, 5004, 4999, 100];
    let count = rig
        .viewer
        .retransmit(&missing, caches(&rig.history), &mut batch, rig.now);
    assert_eq!(count, 2);
    let again = rig.receive();
    assert_eq!(
        again.iter().map(|packet| packet.0).collect::<Vec<_>>(),
        [5001, 5003]
    );
}

#[tokio::test]
async fn of_a_group_too_large_the_keyframe_comes_first_and_then_the_next() {
    let mut rig = Rig::new();
    rig.push(true, 2);
    for _ in 0..500 {
        rig.push_large();
    }
    assert!(!rig.history.is_group_whole());
    rig.start();
    assert_eq!(rig.pump().packets, 2);
    assert_eq!(rig.pump().packets, 0);
    rig.push(false, 1);
    assert_eq!(rig.pump().packets, 0);
    rig.push(true, 3);
    rig.push(false, 1);
    assert_eq!(rig.pump().packets, 4);
}

#[tokio::test]
async fn a_viewer_whose_next_picture_is_gone_goes_on_at_a_keyframe() {
    let mut rig = Rig::new();
    rig.push(true, 1);
    rig.start();
    rig.pump();
    for nth in 0..3000 {
        rig.push(nth == 2500, 1);
    }
    let mut sent = rig.pump();
    assert_eq!(sent.skipped, 2500);
    // Not all at once: sending is paced.
    while sent.pending {
        rig.now += Duration::from_millis(5);
        let more = rig.pump();
        sent.packets += more.packets;
        (sent.skipped, sent.pending) = (sent.skipped + more.skipped, more.pending);
    }
    assert_eq!((sent.skipped, sent.packets), (2500, 500));
}

#[derive(Debug, Clone)]
enum ViewerStep {
    Push(bool, usize),
    Pump,
    Replay,
    Missing(u16),
    Wait(u64),
}

fn event() -> impl Strategy<Value = ViewerStep> {
    prop_oneof![
        6 => (proptest::bool::weighted(0.1), 1..6usize).prop_map(|(k, n)| ViewerStep::Push(k, n)),
        6 => Just(ViewerStep::Pump),
        1 => Just(ViewerStep::Replay),
        2 => (0..400u16).prop_map(ViewerStep::Missing),
        1 => (0..5000u64).prop_map(ViewerStep::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Invariant of the ciphers, under any sequence of events.
    #[test]
    fn no_index_protects_two_packets(
        events in proptest::collection::vec(event(), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let _entered = runtime.enter();
        let mut rig = Rig::new();
        rig.start();
        for event in events {
            match event {
                ViewerStep::Push(keyframe, packets) => rig.push(keyframe, packets),
                ViewerStep::Pump => drop(rig.pump()),
                ViewerStep::Replay => drop(rig.viewer.replay(caches(&rig.history), rig.now)),
                ViewerStep::Missing(back) => {
                    let mut batch = GsoBatch::new(&rig.port);
                    let missing = [5000 + back];
                    rig.viewer.retransmit(&missing, caches(&rig.history), &mut batch, rig.now);
                    rig.receive();
                }
                ViewerStep::Wait(ms) => rig.now += Duration::from_millis(ms),
            }
        }
    }
}
