//! Peer that sends media to the server: webrtc's peer connection, which answers
//! the offer and handles the handshakes, with [`Reception`] on its packets.

use std::sync::Arc;
use std::time::Duration;

use rtc::interceptor::Slot;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use webrtc::error::Error;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, Registry,
};

use crate::ice_socket::IceSocket;
use crate::offer::H264;
use crate::offer::publish::PublishOffer;
use crate::reception::{ReceivedRtp, Reception, ReceptionControl};
use crate::webrtc_port::{IceRestarter, PeerSetup, PluggedSocket, WebrtcPort, random_hex};

/// Timeout of gathering, which is local and takes under a millisecond.
const GATHERING: Duration = Duration::from_secs(3);
/// Packets by which a late one may be behind: a retransmission within a
/// keyframe of a megabyte.
const REPLAY_WINDOW: usize = 2048;

/// Peer whose offer was answered.
pub struct ReceivingPeer {
    connection: Arc<dyn PeerConnection>,
    state: watch::Receiver<RTCPeerConnectionState>,
    socket: PluggedSocket,
    pub packets: mpsc::Receiver<ReceivedRtp>,
    pub control: Arc<ReceptionControl>,
}

impl std::fmt::Debug for ReceivingPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReceivingPeer({:?})", self.socket)
    }
}

/// Reason an offer could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum ReceivingPeerError {
    #[error("failed to answer the offer: {0}")]
    Offer(Error),
    #[error("failed to set up a peer connection: {0}")]
    Setup(#[from] Error),
    #[error("failed to gather candidates within {}s", GATHERING.as_secs())]
    Gathering,
}

struct ReceivingPeerEvents {
    gathered: CancellationToken,
    state: watch::Sender<RTCPeerConnectionState>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for ReceivingPeerEvents {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.cancel();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }
}

impl ReceivingPeer {
    /// Answers an offer. `near`: the request came by a loopback address.
    pub async fn answer(
        offer: &PublishOffer,
        near: bool,
        port: &WebrtcPort,
    ) -> Result<(Self, String), ReceivingPeerError> {
        let (reception, packets, control) = Reception::new(offer);
        let (state, watcher) = watch::channel(RTCPeerConnectionState::New);
        let events = Arc::new(ReceivingPeerEvents {
            gathered: CancellationToken::new(),
            state,
        });
        let gathered = events.gathered.clone();
        let line = IceSocket::of_publisher(random_hex(8), random_hex(16));
        let socket = port.plug(line);
        let setup = PeerSetup {
            engine: media_engine(offer.video.payload_type)?,
            interceptors: Registry::new().with(Slot::from(50_000), reception),
            events,
            crypto: Arc::clone(port.crypto()),
            begins_dtls: offer.peer_is_passive,
            outlives_ice: true,
            replay_window: Some(REPLAY_WINDOW),
        };
        let connection = port.connect(socket.line(), setup).await?;
        match described(&*connection, offer, &gathered).await {
            Ok(made) => {
                let (addresses, number) = port.candidates(near);
                let sdp = offer.answer(&made, &addresses, number);
                let peer = Self {
                    connection,
                    state: watcher,
                    socket,
                    packets,
                    control,
                };
                Ok((peer, sdp))
            }
            Err(error) => {
                let _ = connection.close().await;
                Err(error)
            }
        }
    }

    /// Waits for the end of the handshakes; false if they failed. Cancel safe.
    pub async fn connected(&mut self) -> bool {
        let connected = self.state.wait_for(|state| {
            use RTCPeerConnectionState as State;
            matches!(state, State::Connected | State::Failed | State::Closed)
        });
        let state = connected.await;
        state.is_ok_and(|state| *state == RTCPeerConnectionState::Connected)
    }

    /// True once the peer has closed the connection, or it has failed.
    pub fn is_closed(&self) -> bool {
        use RTCPeerConnectionState as State;
        let state = *self.state.borrow();
        matches!(state, State::Failed | State::Closed) || self.socket.line().is_closed()
    }

    /// Time since the last datagram, ICE checks included.
    pub fn silence(&self) -> Duration {
        self.socket.line().silence()
    }

    pub fn restarter(&self) -> IceRestarter {
        self.socket.restarter()
    }

    pub async fn close(&self) {
        let _ = self.connection.close().await;
    }
}

async fn described(
    connection: &dyn PeerConnection,
    offer: &PublishOffer,
    gathered: &CancellationToken,
) -> Result<String, ReceivingPeerError> {
    let unusable = ReceivingPeerError::Offer;
    let remote = RTCSessionDescription::offer(offer.sdp.clone()).map_err(unusable)?;
    let set = connection.set_remote_description(remote).await;
    set.map_err(unusable)?;
    let answer = connection.create_answer(None).await.map_err(unusable)?;
    connection.set_local_description(answer).await?;
    tokio::time::timeout(GATHERING, gathered.cancelled())
        .await
        .map_err(|_| ReceivingPeerError::Gathering)?;
    let description = connection.local_description().await;
    Ok(description.ok_or(ReceivingPeerError::Gathering)?.sdp)
}

/// Codec of the offer to webrtc, which stands for all.
fn media_engine(payload_type: u8) -> Result<MediaEngine, Error> {
    let mut engine = MediaEngine::default();
    let codec = RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: "video/H264".to_owned(),
            clock_rate: 90_000,
            channels: 0,
            sdp_fmtp_line: H264.to_owned(),
            rtcp_feedback: Vec::new(),
        },
        payload_type,
    };
    engine.register_codec(codec, RtpCodecKind::Video)?;
    Ok(engine)
}
