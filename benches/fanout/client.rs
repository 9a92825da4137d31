//! Many viewers in one process: real ICE and DTLS, but packets are only counted
//! by header, without decryption. A viewer with feedback also decrypts them,
//! and sends NACKs, receiver reports and transport-wide feedback.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio_util::sync::CancellationToken;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCIceGatheringState, RTCSessionDescription, Registry, SettingEngineBuilder,
    SrtpProtectionProfile, register_default_interceptors,
};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};

/// Reception statistics of one viewer.
#[derive(Debug, Default)]
struct ReceptionStats {
    /// Payload type of H.264 in the SDP answer.
    video: u8,
    packets: u64,
    missing: u64,
    next: Option<u16>,
    first_picture: Option<Instant>,
    /// Arrival of the last packet of each picture.
    pictures: Vec<Instant>,
    whole: CompletePictures,
}

/// Complete pictures in order, independent of reordered and duplicate packets.
#[derive(Debug, Default)]
struct CompletePictures {
    /// First missing packet.
    next: Option<u64>,
    /// Later packets: arrival, and whether they end a picture.
    later: BTreeMap<u64, (Instant, bool)>,
    /// Flag: a packet of the current picture was given up.
    torn: bool,
    /// Number of packets given up.
    lost: u64,
    /// Completion times of the pictures.
    pictures: Vec<Instant>,
}

/// Time after which a missing packet is given up.
const LATE: Duration = Duration::from_millis(1500);

impl CompletePictures {
    fn note(&mut self, sequence: u16, ends: bool, now: Instant) {
        let next = *self.next.get_or_insert(u64::from(sequence) + 0x1_0000);
        // Nearest index with this sequence number (RFC 3550, appendix A.1).
        let ahead = sequence.wrapping_sub(next as u16) as i16;
        let index = next.saturating_add_signed(i64::from(ahead));
        if index < next {
            return;
        }
        self.later.entry(index).or_insert((now, ends));
        while let Some((&first, &(came, ends))) = self.later.first_key_value() {
            let next = self.next.unwrap_or(first);
            if first > next {
                if now.saturating_duration_since(came) < LATE {
                    return;
                }
                self.lost += first - next;
                self.torn = true;
            }
            self.later.pop_first();
            self.next = Some(first + 1);
            if ends && !std::mem::take(&mut self.torn) {
                self.pictures.push(now);
            }
        }
    }
}

type SharedStats = Arc<Mutex<ReceptionStats>>;

pub(crate) struct BenchViewer {
    connection: Arc<dyn PeerConnection>,
    seen: SharedStats,
    requested_at: Instant,
    location: String,
}

pub(crate) struct Crowd {
    viewers: Vec<BenchViewer>,
    base: String,
    http: reqwest::Client,
    begun: Instant,
}

struct IceGatheringHandler(CancellationToken);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for IceGatheringHandler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.0.cancel();
        }
    }
}

/// Mode of a viewer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    /// Over this link, with feedback.
    pub(crate) relay: Option<SocketAddr>,
    /// Lists AES-CM before AES-GCM, as older players do.
    pub(crate) prefers_aes_cm: bool,
}

impl Crowd {
    /// Joins viewers one after the other, with `pause` between them.
    pub(crate) async fn join(
        server: SocketAddr,
        count: usize,
        pause: Duration,
        manner: Manner,
    ) -> Self {
        let http = watchtower::base::http_client::plain()
            .no_proxy()
            .build()
            .expect("a client");
        let base = format!("http://{server}");
        let mut viewers = Vec::with_capacity(count);
        for _ in 0..count {
            viewers.push(BenchViewer::join(&http, &base, manner).await);
            tokio::time::sleep(pause).await;
        }
        let mut crowd = Self {
            viewers,
            base,
            http,
            begun: Instant::now(),
        };
        crowd.wait_for_pictures().await;
        crowd
    }

    async fn wait_for_pictures(&mut self) {
        for _ in 0..100 {
            let all = self
                .viewers
                .iter()
                .all(|viewer| viewer.seen().first_picture.is_some());
            if all {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("not all have a picture");
    }

    /// Time from the request to the last packet of the first keyframe.
    pub(crate) fn joins(&self) -> String {
        let times = self.viewers.iter().filter_map(|viewer| {
            let at = viewer.seen().first_picture?;
            Some((at - viewer.requested_at).as_secs_f64() * 1000.0)
        });
        format!("request to keyframe {}", Spread::of(times.collect()))
    }

    /// Restarts the statistics.
    pub(crate) fn begin(&mut self) {
        self.begun = Instant::now();
        for viewer in &self.viewers {
            let mut seen = viewer.seen();
            *seen = ReceptionStats {
                video: seen.video,
                next: seen.next,
                first_picture: seen.first_picture,
                ..ReceptionStats::default()
            };
        }
    }

    pub(crate) fn end(&self) -> String {
        let seconds = self.begun.elapsed().as_secs_f64();
        let (mut packets, mut missing) = (0, 0);
        let mut rates = Vec::new();
        for viewer in &self.viewers {
            let seen = viewer.seen();
            packets += seen.packets;
            missing += seen.missing;
            rates.push(seen.pictures.len() as f64 / seconds);
        }
        let slowest = rates.iter().copied().fold(f64::MAX, f64::min);
        format!(
            "{packets} packets in {seconds:.1} s, {missing} missing, slowest viewer {slowest:.1} pictures a second"
        )
    }

    /// Latency from each push to the arrival of its last packet.
    pub(crate) fn latencies(&self, pushed: &[Instant]) -> String {
        let mut times = Vec::new();
        for viewer in &self.viewers {
            let seen = viewer.seen();
            assert_eq!(seen.pictures.len(), pushed.len(), "a picture was lost");
            let pairs = seen.pictures.iter().zip(pushed);
            times.extend(pairs.map(|(came, went)| (*came - *went).as_secs_f64() * 1000.0));
        }
        format!("push to arrival {}", Spread::of(times))
    }

    pub(crate) async fn leave(self) {
        for viewer in self.viewers {
            let url = format!("{}{}", self.base, viewer.location);
            let _ = self.http.delete(url).send().await;
            let _ = viewer.connection.close().await;
        }
    }
}

impl BenchViewer {
    pub(crate) async fn join(http: &reqwest::Client, base: &str, manner: Manner) -> Self {
        let relay = manner.relay;
        let seen = SharedStats::default();
        let gathered = CancellationToken::new();
        let mut engine = MediaEngine::default();
        engine.register_default_codecs().expect("codecs");
        let registry = match relay {
            Some(_) => register_default_interceptors(Registry::new(), &mut engine),
            None => Ok(Registry::new()),
        };
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_setting_engine(
                SettingEngineBuilder::new()
                    .with_srtp_protection_profiles(profiles(manner.prefers_aes_cm))
                    .with_include_loopback_candidate(true)
                    .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
                    // The default of 200 ms would dominate the measurement; a
                    // browser checks at once and every 50 ms.
                    .with_ice_connection_attempts(Some(Duration::from_millis(5)), None)
                    .build(),
            )
            .with_interceptor_registry(registry.expect("interceptors"))
            .with_handler(Arc::new(IceGatheringHandler(gathered.clone())))
            .with_runtime(Arc::new(Counting {
                seen: Arc::clone(&seen),
                passes: relay.is_some(),
                tokio: TokioRuntime,
            }))
            .with_udp_addrs(vec!["127.0.0.1:0"])
            .build()
            .await
            .expect("a connection");
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        for kind in [RtpCodecKind::Video, RtpCodecKind::Audio] {
            let init = RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Recvonly,
                ..RTCRtpTransceiverInit::default()
            };
            connection
                .add_transceiver_from_kind(kind, Some(init))
                .await
                .expect("a transceiver");
        }
        let offer = connection.create_offer(None).await.expect("an offer");
        connection
            .set_local_description(offer)
            .await
            .expect("described");
        gathered.cancelled().await;
        let offer = connection.local_description().await.expect("described");
        let (location, answer, requested_at) = loop {
            let requested_at = Instant::now();
            let request = http
                .post(format!("{base}/whep/bench"))
                .header("content-type", "application/sdp");
            let answer = request
                .body(offer.sdp.clone())
                .send()
                .await
                .expect("an answer");
            if answer.status() == 201 {
                let location = answer.headers()["location"].to_str().expect("text");
                let location = location.to_owned();
                break (location, answer.text().await.expect("text"), requested_at);
            }
            assert!(matches!(answer.status().as_u16(), 429 | 503), "{answer:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        seen.lock().expect("not poisoned").video = video_payload_type(&answer);
        let answer = match relay {
            Some(relay) => through(relay, &answer),
            None => answer,
        };
        let answer = RTCSessionDescription::answer(answer).expect("an answer");
        connection
            .set_remote_description(answer)
            .await
            .expect("described");
        Self {
            connection,
            seen,
            requested_at,
            location,
        }
    }

    fn seen(&self) -> MutexGuard<'_, ReceptionStats> {
        self.seen.lock().expect("not poisoned")
    }

    /// Takes the pictures completed since the last call.
    pub(crate) fn whole(&self) -> (u64, Vec<Instant>) {
        let whole = &mut self.seen().whole;
        (
            std::mem::take(&mut whole.lost),
            std::mem::take(&mut whole.pictures),
        )
    }
}

impl ReceptionStats {
    fn note(&mut self, packet: &[u8]) {
        if packet.len() < 12 || packet[1] & 0x7f != self.video {
            return;
        }
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        let ends = packet[1] & 0x80 != 0;
        self.whole.note(sequence, ends, Instant::now());
        self.packets += 1;
        if let Some(next) = self.next {
            let gap = sequence.wrapping_sub(next);
            if gap < 0x8000 {
                self.missing += u64::from(gap);
            }
        }
        self.next = Some(sequence.wrapping_add(1));
        if ends {
            let now = Instant::now();
            self.first_picture.get_or_insert(now);
            self.pictures.push(now);
        }
    }
}

fn profiles(prefers_aes_cm: bool) -> Vec<SrtpProtectionProfile> {
    let (gcm, cm) = (
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
    );
    if prefers_aes_cm {
        vec![cm, gcm]
    } else {
        vec![gcm, cm]
    }
}

/// The answer with another address in its candidates (RFC 8839, section 5.1).
fn through(relay: SocketAddr, answer: &str) -> String {
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        let (address, port) = (relay.ip().to_string(), relay.port().to_string());
        if line.starts_with("a=candidate:") && words.len() > 5 {
            (words[4], words[5]) = (&address, &port);
        }
        format!("{}\r\n", words.join(" "))
    };
    let udp = |line: &&str| !line.starts_with("a=candidate:") || !line.contains(" tcp ");
    answer.lines().filter(udp).map(line).collect()
}

fn video_payload_type(answer: &str) -> u8 {
    let video = answer
        .lines()
        .find(|line| line.starts_with("m=video"))
        .expect("a video section");
    let first = video.split(' ').nth(3).expect("a payload type");
    first.parse().expect("a number")
}

/// Percentiles of milliseconds.
struct Spread(Vec<f64>);

impl Spread {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    fn at(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0
            .get((share * last as f64) as usize)
            .copied()
            .unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p95, p99, most] = [0.5, 0.95, 0.99, 1.0].map(|share| self.at(share));
        write!(f, "p50 {p50:.1} p95 {p95:.1} p99 {p99:.1} max {most:.1} ms")
    }
}

/// Tokio runtime with sockets that intercept media.
#[derive(Debug)]
struct Counting {
    seen: SharedStats,
    passes: bool,
    tokio: TokioRuntime,
}

#[derive(Debug)]
struct CountingSocket {
    seen: SharedStats,
    /// Flag: media is passed to webrtc, too.
    passes: bool,
    socket: Arc<dyn AsyncUdpSocket>,
}

impl AsyncUdpSocket for CountingSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.socket.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let count = ready!(
                self.socket
                    .poll_recv(cx, &mut buffers[..1], &mut metas[..1])
            )?;
            let meta = metas[0];
            let data = &buffers[0][..meta.len];
            // RTCP and RTP share the first byte (RFC 5761, section 4).
            let media =
                data.len() > 1 && (128..192).contains(&data[0]) && !(192..224).contains(&data[1]);
            if !media {
                return Poll::Ready(Ok(count));
            }
            let mut seen = self.seen.lock().expect("not poisoned");
            for packet in data.chunks(meta.stride.max(1)) {
                seen.note(packet);
            }
            if self.passes {
                return Poll::Ready(Ok(count));
            }
        }
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}

type RuntimeFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Runtime for Counting {
    fn spawn(&self, future: RuntimeFuture<'static, ()>) -> Box<dyn JoinHandle> {
        self.tokio.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let socket = self.tokio.wrap_udp_socket(socket)?;
        Ok(Arc::new(CountingSocket {
            seen: Arc::clone(&self.seen),
            passes: self.passes,
            socket,
        }))
    }

    fn wrap_tcp_listener(
        &self,
        listener: std::net::TcpListener,
    ) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.tokio.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        to: SocketAddr,
    ) -> RuntimeFuture<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        self.tokio.connect_tcp(to)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> RuntimeFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.tokio.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> RuntimeFuture<'static, ()> {
        self.tokio.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.tokio.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.tokio.block_on(future);
    }
}
