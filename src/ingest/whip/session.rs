//! Session of one publisher, from the answer to its offer to its end.

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use watchtower_base::publish_tokens::PublishPermit;
use watchtower_base::stream_name::StreamName;
use watchtower_media::hub::{Cadence, Publisher, Replaced, StreamHub, StreamLimitReached};
use watchtower_media::{AccessUnit, AudioUnit, MediaUnit};
use watchtower_transport::offer::MediaKind;
use watchtower_transport::offer::publish::PublishCodec;
use watchtower_transport::receiving_peer::ReceivingPeer;

use super::intake::{AudioIntake, VideoIntake};
use super::keyframes::KeyframePolicy;
use super::server::WhipSettings;
use crate::metrics::IngestMetrics;

/// Packets taken from the queue at once.
const BATCH: usize = 64;
/// Interval of checks: lost packets given up, silence, keyframes.
const CHECKS: Duration = Duration::from_millis(100);

/// Reason a session ended.
#[derive(Debug)]
pub(super) enum WhipEnd {
    /// By request (`DELETE`).
    Deleted,
    /// The publisher closed the connection.
    Closed,
    Replaced,
    Shutdown,
    NotConnected(Duration),
    NoVideo(Duration),
    Silent(Duration),
    /// The token was revoked or has expired.
    TokenOver,
    Full(StreamLimitReached),
}

impl WhipEnd {
    /// Label value for the metrics; the set is closed.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Deleted | Self::Closed => "ended",
            Self::Replaced => "replaced",
            Self::Shutdown => "shutdown",
            Self::NotConnected(_) => "late",
            Self::NoVideo(_) => "never_published",
            Self::Silent(_) => "idle",
            Self::TokenOver => "token",
            Self::Full(_) => "refused",
        }
    }

    /// True if the peer may not, or can't, publish here.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::NotConnected(_) | Self::NoVideo(_) | Self::Full(_)
        )
    }
}

impl std::fmt::Display for WhipEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deleted => f.write_str("publisher stopped the stream"),
            Self::Closed => f.write_str("publisher disconnected"),
            Self::Replaced => f.write_str("replaced by a new publisher"),
            Self::Shutdown => f.write_str("server shutdown"),
            Self::NotConnected(limit) => write!(
                f,
                "no WebRTC connection within {limit:?}: the publisher does not reach the UDP or \
                 TCP port of --webrtc"
            ),
            Self::NoVideo(limit) => write!(f, "no video within {limit:?} of the connection"),
            Self::Silent(limit) => write!(f, "silent for {limit:?}"),
            Self::TokenOver => f.write_str("the share link has expired or was revoked"),
            Self::Full(limit) => limit.fmt(f),
        }
    }
}

impl From<Replaced> for WhipEnd {
    fn from(_: Replaced) -> Self {
        Self::Replaced
    }
}

/// Session whose offer was answered.
pub(super) struct WhipSession<'a> {
    pub(super) peer: ReceivingPeer,
    /// Codec of the video.
    pub(super) codec: PublishCodec,
    pub(super) stream: StreamName,
    pub(super) permit: PublishPermit,
    pub(super) hub: &'a StreamHub,
    pub(super) metrics: &'a IngestMetrics,
    pub(super) settings: &'a WhipSettings,
}

impl WhipSession<'_> {
    /// Runs until something ends the session, then closes the connection.
    pub(super) async fn run(
        mut self,
        deleted: CancellationToken,
        shutdown: CancellationToken,
    ) -> WhipEnd {
        let permit = self.permit.ended.clone();
        let end = tokio::select! {
            end = self.serve() => end,
            () = deleted.cancelled() => WhipEnd::Deleted,
            () = shutdown.cancelled() => WhipEnd::Shutdown,
            () = permit.cancelled() => WhipEnd::TokenOver,
        };
        self.peer.close().await;
        end
    }

    async fn serve(&mut self) -> WhipEnd {
        let limit = self.settings.handshake;
        match tokio::time::timeout(limit, self.peer.connected()).await {
            Ok(true) => {}
            Ok(false) => return WhipEnd::Closed,
            Err(_) => return WhipEnd::NotConnected(limit),
        }
        let publisher = self.hub.publish_within(&self.stream, self.settings.streams);
        let publisher = match publisher {
            Ok(publisher) => publisher,
            Err(full) => return WhipEnd::Full(full),
        };
        publisher.set_cadence(Cadence::OnChange);
        let Err(end) = self.receive(&publisher).await;
        end
    }

    async fn receive(
        &mut self,
        publisher: &Publisher,
    ) -> Result<std::convert::Infallible, WhipEnd> {
        let began = Instant::now();
        let mut intake = VideoIntake::new(self.codec, began);
        let mut sound = AudioIntake::new(began);
        let mut policy = KeyframePolicy::default();
        let mut checks = tokio::time::interval(CHECKS);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                count = self.peer.packets.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return Err(WhipEnd::Closed);
                    }
                    for received in batch.drain(..) {
                        let bytes = received.packet.payload.len() as u64;
                        self.metrics.whip_bytes.inc_by(bytes);
                        match received.kind {
                            MediaKind::Video => {
                                publish(intake.push(received), publisher, &mut policy)?;
                            }
                            MediaKind::Audio => publish_sound(sound.push(received), publisher)?,
                        }
                    }
                }
                () = publisher.replaced().cancelled() => return Err(WhipEnd::Replaced),
                () = publisher.keyframe_requested() => policy.joined(),
                _ = checks.tick() => {
                    let now = Instant::now();
                    publish(intake.overdue(now), publisher, &mut policy)?;
                    publish_sound(sound.overdue(now), publisher)?;
                    self.check(&intake, began)?;
                }
            }
            self.note_losses(&mut intake, publisher);
            if policy.is_due(intake.needs_keyframe(), Instant::now()) {
                self.metrics.keyframe_requests.inc();
                self.peer.control.request_keyframe();
            }
        }
    }

    /// Ends the session if it is over. A publisher that sends no picture is not,
    /// while ICE checks or reports arrive: the screen may be still.
    fn check(&self, intake: &VideoIntake, began: Instant) -> Result<(), WhipEnd> {
        let WhipSettings {
            handshake, idle, ..
        } = *self.settings;
        if self.peer.is_closed() {
            return Err(WhipEnd::Closed);
        }
        if self.peer.silence() >= idle {
            return Err(WhipEnd::Silent(idle));
        }
        if !intake.has_begun() && began.elapsed() >= handshake {
            return Err(WhipEnd::NoVideo(handshake));
        }
        Ok(())
    }

    fn note_losses(&self, intake: &mut VideoIntake, publisher: &Publisher) {
        for _ in 0..intake.take_left_out() {
            publisher.leave_out();
        }
    }
}

fn publish(
    units: Vec<AccessUnit>,
    publisher: &Publisher,
    policy: &mut KeyframePolicy,
) -> Result<(), Replaced> {
    for unit in units {
        policy.received(unit.keyframe, unit.data.len(), Instant::now());
        publisher.push(MediaUnit::Video(unit))?;
    }
    Ok(())
}

fn publish_sound(units: Vec<AudioUnit>, publisher: &Publisher) -> Result<(), Replaced> {
    for unit in units {
        publisher.push(MediaUnit::Audio(unit))?;
    }
    Ok(())
}
