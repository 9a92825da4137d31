//! Client session: webrtc's peer connection on the offering and receiving side.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use url::Url;
use webrtc::error::Error;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, Registry,
    SettingEngineBuilder, register_default_interceptors,
};

use watchtower_base::stream_name::StreamName;
use watchtower_base::url::is_loopback;
use watchtower_media::MediaUnit;
use watchtower_media::hub::{Publisher, StreamHub};
use watchtower_transport::depacketizer::Depacketizer;
use watchtower_transport::reorder::{Ordered, Reorder, RtpPacket};

use super::SessionFailure;
use crate::peer::h264;

/// Timeout of gathering, which is local: addresses of this machine only.
const GATHERING: Duration = Duration::from_secs(3);
const HANDSHAKE: Duration = Duration::from_secs(15);
/// Silence after which a stream counts as ended or paused.
const SILENCE: Duration = Duration::from_secs(6);
const CHECKS: Duration = Duration::from_millis(200);
/// Minimum interval of keyframe requests.
const KEYFRAME_REQUESTS: Duration = Duration::from_secs(1);
/// Offers Main and High besides what every browser decodes: FFmpeg decodes them
/// all.
const PROFILES: [(&str, u8); 3] = [("42e01f", 102), ("4d001f", 104), ("64001f", 106)];

pub(super) struct ClientSession {
    connection: Arc<dyn PeerConnection>,
    state: watch::Receiver<RTCPeerConnectionState>,
    tracks: mpsc::Receiver<Arc<dyn TrackRemote>>,
    sdp: String,
}

struct ClientPeerEvents {
    gathered: CancellationToken,
    state: watch::Sender<RTCPeerConnectionState>,
    tracks: mpsc::Sender<Arc<dyn TrackRemote>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for ClientPeerEvents {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.cancel();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        // Tracks beyond the requested one are ignored.
        let _ = self.tracks.try_send(track);
    }
}

impl ClientSession {
    /// Creates an offer to receive video, with every address a server may
    /// reach.
    pub(super) async fn offer(server: &Url) -> Result<Self, SessionFailure> {
        let (state, watcher) = watch::channel(RTCPeerConnectionState::New);
        let (sender, tracks) = mpsc::channel(1);
        let events = Arc::new(ClientPeerEvents {
            gathered: CancellationToken::new(),
            state,
            tracks: sender,
        });
        let gathered = events.gathered.clone();
        let mut engine = media_engine()?;
        let registry = register_default_interceptors(Registry::new(), &mut engine)?;
        let near = is_loopback(server);
        let settings = SettingEngineBuilder::new()
            .with_include_loopback_candidate(near)
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .with_ice_timeouts(Some(SILENCE), Some(2 * SILENCE), Some(SILENCE / 3))
            .build();
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_setting_engine(settings)
            .with_interceptor_registry(registry)
            .with_handler(events)
            .with_udp_addrs(addresses(near))
            .build()
            .await?;
        let mut session = Self {
            connection: Arc::new(connection),
            state: watcher,
            tracks,
            sdp: String::new(),
        };
        match session.describe(&gathered).await {
            Ok(sdp) => {
                session.sdp = sdp;
                Ok(session)
            }
            Err(trouble) => {
                session.close().await;
                Err(trouble)
            }
        }
    }

    async fn describe(&self, gathered: &CancellationToken) -> Result<String, SessionFailure> {
        let receive = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Recvonly,
            ..RTCRtpTransceiverInit::default()
        };
        self.connection
            .add_transceiver_from_kind(RtpCodecKind::Video, Some(receive))
            .await?;
        let offer = self.connection.create_offer(None).await?;
        self.connection.set_local_description(offer).await?;
        // The candidates gathered by then are used.
        let _ = tokio::time::timeout(GATHERING, gathered.cancelled()).await;
        let description = self.connection.local_description().await;
        let description = description.ok_or(SessionFailure::Over("there is no offer"))?;
        Ok(description.sdp)
    }

    pub(super) fn sdp(&self) -> &str {
        &self.sdp
    }

    /// Applies the answer and completes the handshake.
    pub(super) async fn accept(&mut self, answer: String) -> Result<(), SessionFailure> {
        let unusable = |error: Error| SessionFailure::Answer(error.to_string());
        let answer = RTCSessionDescription::answer(answer).map_err(unusable)?;
        self.connection
            .set_remote_description(answer)
            .await
            .map_err(unusable)?;
        let connected = self.state.wait_for(|state| {
            use RTCPeerConnectionState as State;
            matches!(state, State::Connected | State::Failed | State::Closed)
        });
        match tokio::time::timeout(HANDSHAKE, connected).await {
            Ok(Ok(state)) if *state == RTCPeerConnectionState::Connected => Ok(()),
            Ok(_) => Err(SessionFailure::Over("the handshake failed")),
            Err(_) => Err(SessionFailure::Over("no handshake within 15 s")),
        }
    }

    /// Publishes the received pictures until the stream stops. Calls `playing`
    /// at the first picture.
    pub(super) async fn receive(
        &mut self,
        hub: &StreamHub,
        stream: &StreamName,
        playing: impl FnOnce(),
    ) -> Result<(), SessionFailure> {
        let track = tokio::time::timeout(SILENCE, self.tracks.recv()).await;
        let track = track
            .ok()
            .flatten()
            .ok_or(SessionFailure::Over("the server sends no video"))?;
        let mut intake = Intake::default();
        // Published only now: a stream without a picture does not count.
        let mut publisher = None::<Publisher>;
        let mut playing = Some(playing);
        let mut last_packet = Instant::now();
        let mut last_request = None::<Instant>;
        let mut checks = tokio::time::interval(CHECKS);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = track.poll() => match event {
                    Some(TrackRemoteEvent::OnRtpPacket(packet)) => {
                        last_packet = Instant::now();
                        for unit in intake.push(packet, last_packet) {
                            if let Some(playing) = playing.take() {
                                playing();
                            }
                            let publisher = publisher.get_or_insert_with(|| hub.publish(stream));
                            if publisher.push(unit).is_err() {
                                return Err(SessionFailure::Over("stream taken over by another publisher"));
                            }
                        }
                    }
                    Some(TrackRemoteEvent::OnEnded) | None => {
                        return Err(SessionFailure::Over("the stream has ended"));
                    }
                    Some(_) => {}
                },
                changed = self.state.changed() => {
                    use RTCPeerConnectionState as State;
                    let state = *self.state.borrow_and_update();
                    if changed.is_err() || matches!(state, State::Closed | State::Failed) {
                        return Err(SessionFailure::Over("the server has closed the session"));
                    }
                }
                _ = checks.tick() => {
                    if last_packet.elapsed() >= SILENCE {
                        return Err(SessionFailure::Over("stream silent"));
                    }
                    let due = last_request.is_none_or(|at| at.elapsed() >= KEYFRAME_REQUESTS);
                    if intake.depacketizer.needs_keyframe() && due {
                        last_request = Some(Instant::now());
                        request_keyframe(track.as_ref()).await;
                    }
                }
            }
        }
    }

    pub(super) async fn close(&self) {
        let _ = self.connection.close().await;
    }
}

#[derive(Default)]
struct Intake {
    reorder: Reorder,
    depacketizer: Depacketizer,
}

impl Intake {
    fn push(&mut self, packet: rtc::rtp::Packet, now: Instant) -> Vec<MediaUnit> {
        let packet = RtpPacket {
            sequence: packet.header.sequence_number,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            payload: packet.payload,
        };
        let mut units = Vec::new();
        for ordered in self.reorder.push(packet, now) {
            if matches!(ordered, Ordered::Gap) {
                tracing::debug!("packet loss");
            }
            let done = self.depacketizer.push(ordered);
            units.extend(done.into_iter().flatten().map(MediaUnit::Video));
        }
        units
    }
}

async fn request_keyframe(track: &dyn TrackRemote) {
    let Some(media_ssrc) = track.ssrcs().await.first().copied() else {
        return;
    };
    let request = PictureLossIndication {
        sender_ssrc: 0,
        media_ssrc,
    };
    // Fails only if the connection is gone, which is detected elsewhere.
    let _ = track.write_rtcp(vec![Box::new(request)]).await;
}

/// Wildcard addresses of every interface of this machine; loopback only for a
/// server on loopback.
fn addresses(near: bool) -> Vec<&'static str> {
    let mut addresses = vec!["0.0.0.0:0"];
    if UdpSocket::bind("[::]:0").is_ok() {
        addresses.push("[::]:0");
    }
    if near {
        addresses.push("127.0.0.1:0");
        if UdpSocket::bind("[::1]:0").is_ok() {
            addresses.push("[::1]:0");
        }
    }
    addresses
}

fn media_engine() -> Result<MediaEngine, Error> {
    let mut engine = MediaEngine::default();
    for (profile, payload_type) in PROFILES {
        let codec = RTCRtpCodecParameters {
            rtp_codec: RTCRtpCodec {
                sdp_fmtp_line: format!(
                    "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}"
                ),
                ..h264()
            },
            payload_type,
        };
        engine.register_codec(codec, RtpCodecKind::Video)?;
    }
    Ok(engine)
}

impl From<Error> for SessionFailure {
    fn from(error: Error) -> Self {
        Self::Setup(error.to_string())
    }
}
