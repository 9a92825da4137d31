//! Control path of a viewer: webrtc's peer connection, configured to answer an
//! offer and to handle the handshakes and RTCP, without media.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rtc::crypto::RTCCryptoProvider;
use rtc::interceptor::Slot;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters,
    RTCRtpEncodingParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use webrtc::error::Error;
use webrtc::media_stream::MediaStreamTrack;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_local::{TrackLocal, TrackLocalEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, Registry,
};
use webrtc::rtp_transceiver::RtpSender;

use watchtower_transport::clock::RtpClock;
use watchtower_transport::ice_socket::IceSocket;
use watchtower_transport::offer::Offer;
use watchtower_transport::srtp::Protector;
use watchtower_transport::srtp_keys::Tap;
use watchtower_transport::webrtc_port::{PeerSetup, WebrtcPort};
use watchtower_transport::{clock, offer};

use super::viewer::{RtpStream, SenderStats, Viewer};
use crate::fanout::{FanHandle, FanoutCommand};
use crate::rtcp;
use crate::rtcp::{Deliver, Feedback, RtcpReport};

/// Timeout of the handshakes. ICE and DTLS take some 20 ms on a good network
/// and a few seconds on a bad one.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// Timeout of gathering, which is local and takes under a millisecond.
const GATHERING: Duration = Duration::from_secs(3);
/// Interval of sender reports: half of a browser's statistics interval.
const REPORTS: Duration = Duration::from_millis(2500);
/// Interval of sender reports on a link that has reached its limits.
const REPORTS_STRAINED: Duration = Duration::from_millis(500);
/// URI of the RTP header extension for reporting arrivals.
const TRANSPORT_WIDE_NUMBER: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// Interval between checks of a viewer's silence.
const CHECKS: Duration = Duration::from_millis(500);

/// Viewer whose offer was answered.
pub(super) struct Peer {
    connection: Arc<dyn PeerConnection>,
    state: watch::Receiver<RTCPeerConnectionState>,
    line: Arc<IceSocket>,
    tap: Arc<Tap>,
    reports: mpsc::Receiver<RtcpReport>,
    tracks: OutgoingTracks,
}

/// Tracks to send; at least one is set.
struct OutgoingTracks {
    video: Option<OutgoingTrack>,
    audio: Option<OutgoingTrack>,
}

struct OutgoingTrack {
    local: Arc<TrackLocalStaticRTP>,
    sender: Arc<dyn RtpSender>,
    ssrc: u32,
    payload_type: u8,
    /// Id of the extension with the transport-wide number, if negotiated.
    numbered: Option<u8>,
}

/// Reason a peer could not be created.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    #[error("failed to answer the offer: {0}")]
    Offer(Error),
    #[error("failed to set up a peer connection: {0}")]
    Setup(#[from] Error),
    #[error("failed to gather candidates within {}s", GATHERING.as_secs())]
    Gathering,
    #[error("no common codec")]
    NoCodec,
}

struct ViewerPeerEvents {
    gathered: CancellationToken,
    state: watch::Sender<RTCPeerConnectionState>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for ViewerPeerEvents {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.cancel();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }
}

impl Peer {
    /// Answers an offer; the session description still contains webrtc's own
    /// candidates.
    pub(super) async fn answer(
        offer: &Offer,
        line: &Arc<IceSocket>,
        port: &WebrtcPort,
    ) -> Result<(Self, String), PeerError> {
        let tap = Arc::new(Tap::new(Arc::clone(port.crypto())));
        let (deliver, reports) = Deliver::new();
        let (state, watcher) = watch::channel(RTCPeerConnectionState::New);
        let events = Arc::new(ViewerPeerEvents {
            gathered: CancellationToken::new(),
            state,
        });
        let gathered = events.gathered.clone();
        let setup = PeerSetup {
            engine: media_engine()?,
            interceptors: Registry::new().with(Slot::from(50_000), deliver),
            events,
            crypto: tap.clone(),
            begins_dtls: false,
            outlives_ice: false,
            replay_window: None,
        };
        let connection = port.connect(line, setup).await?;
        let answered = Self::negotiate(&connection, offer, &gathered).await;
        match answered {
            Ok((tracks, sdp)) => {
                let peer = Self {
                    connection,
                    state: watcher,
                    line: Arc::clone(line),
                    tap,
                    reports,
                    tracks,
                };
                Ok((peer, sdp))
            }
            Err(error) => {
                let _ = connection.close().await;
                Err(error)
            }
        }
    }

    async fn negotiate(
        connection: &Arc<dyn PeerConnection>,
        offer: &Offer,
        gathered: &CancellationToken,
    ) -> Result<(OutgoingTracks, String), PeerError> {
        let remote = RTCSessionDescription::offer(offer.sdp.clone()).map_err(PeerError::Offer)?;
        connection
            .set_remote_description(remote)
            .await
            .map_err(PeerError::Offer)?;
        let video = match offer.takes(offer::MediaKind::Video) {
            true => Some(OutgoingTrack::add(connection, RtpCodecKind::Video, h264()).await?),
            false => None,
        };
        let audio = match offer.takes(offer::MediaKind::Audio) {
            true => Some(OutgoingTrack::add(connection, RtpCodecKind::Audio, opus()).await?),
            false => None,
        };
        let answer = connection
            .create_answer(None)
            .await
            .map_err(PeerError::Offer)?;
        connection.set_local_description(answer).await?;
        tokio::time::timeout(GATHERING, gathered.cancelled())
            .await
            .map_err(|_| PeerError::Gathering)?;
        let description = connection
            .local_description()
            .await
            .ok_or(PeerError::Gathering)?;
        let mut tracks = OutgoingTracks { video, audio };
        for track in [&mut tracks.video, &mut tracks.audio].into_iter().flatten() {
            track.negotiated().await?;
        }
        Ok((tracks, description.sdp))
    }

    /// Runs a viewer's session: handshake, joining the fan-out, feedback and
    /// reports, and its end. Returns the reason it ended.
    pub(super) async fn run(
        mut self,
        id: u64,
        fanout: &FanHandle,
        crypto: &dyn RTCCryptoProvider,
        stop: impl Future<Output = &'static str>,
        connected: impl FnOnce(),
    ) -> &'static str {
        let session = async {
            self.handshake(fanout).await?;
            let stats = self.join(id, fanout, crypto).await?;
            connected();
            Err::<(), _>(self.watch(id, fanout, &stats).await)
        };
        let end = tokio::select! {
            Err(end) = session => end,
            end = stop => end,
        };
        // A closed channel means that it has left already.
        let _ = fanout.orders.send(FanoutCommand::Leave(id)).await;
        let _ = self.connection.close().await;
        end
    }

    async fn handshake(&mut self, fanout: &FanHandle) -> Result<(), &'static str> {
        let connected = self.state.wait_for(|state| {
            use RTCPeerConnectionState as State;
            matches!(state, State::Connected | State::Failed | State::Closed)
        });
        let state = tokio::select! {
            state = tokio::time::timeout(HANDSHAKE, connected) => state,
            () = fanout.ended.cancelled() => return Err("stream ended"),
        };
        match state {
            Ok(Ok(state)) if *state == RTCPeerConnectionState::Connected => Ok(()),
            Ok(_) => Err("handshake failed"),
            Err(_) => Err("no handshake in time"),
        }
    }

    async fn join(
        &self,
        id: u64,
        fanout: &FanHandle,
        crypto: &dyn RTCCryptoProvider,
    ) -> Result<TrackStats, &'static str> {
        let keys = self.tap.take().ok_or("no SRTP keys")?;
        let protector = Protector::new(&keys, crypto.crypto()).map_err(|_| "no SRTP cipher")?;
        let rtp_stream = |track: &OutgoingTrack| {
            let first = rand::random();
            RtpStream::new(track.ssrc, track.payload_type, rand::random(), first)
                .numbered(track.numbered)
        };
        let video = self.tracks.video.as_ref().map(rtp_stream);
        let audio = self.tracks.audio.as_ref().map(rtp_stream);
        let stats = |rtp_stream: &Option<RtpStream>| {
            rtp_stream
                .as_ref()
                .map(|rtp_stream| Arc::clone(&rtp_stream.stats))
        };
        let stats = TrackStats {
            video: stats(&video),
            audio: stats(&audio),
        };
        let line = Arc::clone(&self.line);
        let viewer = match video {
            Some(video) => Viewer::new(id, line, protector, video, audio, Instant::now()),
            None => Viewer::listener(id, line, protector, audio, Instant::now()),
        };
        fanout
            .orders
            .send(FanoutCommand::Join(Box::new(viewer)))
            .await
            .map_err(|_| "stream ended")?;
        Ok(stats)
    }

    async fn watch(&mut self, id: u64, fanout: &FanHandle, stats: &TrackStats) -> &'static str {
        let Some(fed_back) = self.tracks.any().map(|track| Arc::clone(&track.local)) else {
            return "nothing to send";
        };
        let mut checks = tokio::time::interval(CHECKS);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reported: Option<Instant> = None;
        loop {
            tokio::select! {
                changed = self.state.changed() => {
                    use RTCPeerConnectionState as State;
                    let state = *self.state.borrow_and_update();
                    if changed.is_err() || matches!(state, State::Closed | State::Failed) {
                        return "closed by the viewer";
                    }
                }
                event = fed_back.poll() => match event {
                    Some(TrackLocalEvent::OnRtcpPacket(packets)) => {
                        for packet in packets {
                            let order = match Feedback::of(packet.as_ref()) {
                                Some(Feedback::Missing(sequences)) => {
                                    FanoutCommand::Missing { viewer: id, sequences }
                                }
                                Some(Feedback::PictureLost) => FanoutCommand::PictureLost(id),
                                None => continue,
                            };
                            // A full queue means a flood; genuine feedback is
                            // repeated.
                            let _ = fanout.orders.try_send(order);
                        }
                    }
                    Some(_) => {}
                    None => return "closed by the viewer",
                },
                Some(incoming) = self.reports.recv() => {
                    let of_video = |ssrc| {
                        let video = self.tracks.video.as_ref();
                        video.is_some_and(|track| track.ssrc == ssrc)
                    };
                    let order = match incoming {
                        RtcpReport::Reception(block) if of_video(block.ssrc) => {
                            let report = rtcp::report(&block, clock::ntp());
                            FanoutCommand::Report { viewer: id, report }
                        }
                        RtcpReport::Reception(_) => continue,
                        RtcpReport::Arrivals(arrivals) => FanoutCommand::Arrived { viewer: id, arrivals },
                    };
                    let _ = fanout.orders.try_send(order);
                }
                () = fanout.ended.cancelled() => return "stream ended",
                _ = checks.tick() => {
                    if self.line.is_closed() {
                        return "closed by the viewer";
                    }
                    if !self.line.is_alive() {
                        return "silent";
                    }
                    let every = match stats.is_strained() {
                        true => REPORTS_STRAINED,
                        false => REPORTS,
                    };
                    if reported.is_none_or(|at| at.elapsed() >= every) {
                        reported = Some(Instant::now());
                        self.report(&fanout.clock, stats).await;
                    }
                }
            }
        }
    }

    /// Sends sender reports, which keep audio and video in sync (RFC 3550,
    /// section 6.4.1).
    async fn report(&self, clock: &RtpClock, stats: &TrackStats) {
        let Some(moment) = clock.now() else {
            return;
        };
        let report = |track: &OutgoingTrack, time: u32, stats: &SenderStats| SenderReport {
            ssrc: track.ssrc,
            ntp_time: moment.ntp,
            rtp_time: time.wrapping_add(stats.time_offset),
            packet_count: stats.packets.load(Ordering::Relaxed),
            octet_count: stats.octets.load(Ordering::Relaxed),
            ..SenderReport::default()
        };
        for (track, stats, time) in [
            (&self.tracks.video, &stats.video, moment.video),
            (&self.tracks.audio, &stats.audio, moment.audio),
        ] {
            if let (Some(track), Some(stats)) = (track, stats) {
                let report = report(track, time, stats);
                let _ = track.local.write_rtcp(vec![Box::new(report)]).await;
            }
        }
    }
}

/// Sender statistics of each track.
struct TrackStats {
    video: Option<Arc<SenderStats>>,
    audio: Option<Arc<SenderStats>>,
}

impl TrackStats {
    fn is_strained(&self) -> bool {
        let video = self.video.as_ref();
        video.is_some_and(|stats| stats.strained.load(Ordering::Relaxed))
    }
}

impl OutgoingTracks {
    /// Channels for the viewer's feedback.
    fn any(&self) -> Option<&OutgoingTrack> {
        self.video.as_ref().or(self.audio.as_ref())
    }
}

impl OutgoingTrack {
    async fn add(
        connection: &Arc<dyn PeerConnection>,
        kind: RtpCodecKind,
        codec: RTCRtpCodec,
    ) -> Result<Self, PeerError> {
        let ssrc = rand::random();
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(ssrc),
                ..RTCRtpCodingParameters::default()
            },
            codec,
            ..RTCRtpEncodingParameters::default()
        };
        let name = kind.to_string();
        // Stream id shared by both: the browser synchronises them.
        let track = MediaStreamTrack::new(
            "watchtower".into(),
            name.clone(),
            name,
            kind,
            vec![encoding],
        );
        let local = Arc::new(TrackLocalStaticRTP::new(track));
        let sender = connection
            .add_track(Arc::clone(&local) as Arc<dyn TrackLocal>)
            .await?;
        Ok(Self {
            local,
            sender,
            ssrc,
            payload_type: 0,
            numbered: None,
        })
    }

    /// Reads the negotiated payload type.
    async fn negotiated(&mut self) -> Result<(), PeerError> {
        let parameters = self.sender.get_parameters().await?.rtp_parameters;
        let codec = parameters.codecs.first().ok_or(PeerError::NoCodec)?;
        self.payload_type = codec.payload_type;
        let numbered = parameters
            .header_extensions
            .iter()
            .find(|extension| extension.uri == TRANSPORT_WIDE_NUMBER);
        self.numbered = numbered
            .and_then(|extension| u8::try_from(extension.id).ok())
            .filter(|id| (1..=14).contains(id));
        Ok(())
    }
}

fn media_engine() -> Result<MediaEngine, Error> {
    let mut engine = MediaEngine::default();
    for (codec, payload_type, kind) in [
        (h264(), 102, RtpCodecKind::Video),
        (opus(), 111, RtpCodecKind::Audio),
    ] {
        let codec = RTCRtpCodecParameters {
            rtp_codec: codec,
            payload_type,
        };
        engine.register_codec(codec, kind)?;
    }
    let number = RTCRtpHeaderExtensionCapability {
        uri: TRANSPORT_WIDE_NUMBER.to_owned(),
    };
    engine.register_header_extension(number, RtpCodecKind::Video, None)?;
    Ok(engine)
}

/// Codec that every browser decodes (RFC 7742, section 6.2); in practice they
/// accept High profile under this parameter too.
pub(super) fn h264() -> RTCRtpCodec {
    let feedback = |kind: &str, parameter: &str| RTCPFeedback {
        typ: kind.to_owned(),
        parameter: parameter.to_owned(),
    };
    RTCRtpCodec {
        mime_type: "video/H264".to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
            .to_owned(),
        rtcp_feedback: vec![
            feedback("nack", ""),
            feedback("nack", "pli"),
            feedback("ccm", "fir"),
            feedback("transport-cc", ""),
        ],
    }
}

fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: "audio/opus".to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: Vec::new(),
    }
}
