//! Viewer gateway: admission, sessions and state shared by viewers.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use watchtower_base::log_limit::LogLimit;
use watchtower_base::stream_name::StreamName;
use watchtower_base::sync::Locked as _;
use watchtower_base::token_bucket::TokenBucket;
use watchtower_media::Playback;
use watchtower_media::hub::StreamHub;
use watchtower_media::hub::renditions::Renditions;
use watchtower_transport::answer;
use watchtower_transport::ice_socket::IceSocket;
use watchtower_transport::offer::{Offer, StreamTracks, Unmet};
use watchtower_transport::signalling::problem::SdpProblem;
use watchtower_transport::webrtc_port::{PluggedSocket, WebrtcPort, random_hex};

use super::peer::{Peer, PeerError};
use crate::fanout;
use crate::fanout::{FanContext, FanHandle};
use crate::metrics::PlaybackMetrics;
use crate::settings::{Transcode, WebrtcSettings};

/// Maximum number of viewers between answer and first picture. Each holds some
/// 100 kB until its handshake completes or times out.
const MOST_PENDING: usize = 256;
/// Rate limit of answers, a second and burst: an answer costs about a
/// millisecond.
const ANSWERS_PER_SECOND: f64 = 100.0;
const ANSWER_BURST: f64 = 200.0;

/// Settings of the gateway.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    pub address: SocketAddr,
    /// Public address or host name of `address`, behind NAT.
    pub public_address: Option<String>,
    pub webrtc: WebrtcSettings,
}

/// WHEP server. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<GatewayState>,
}

struct GatewayState {
    settings: WebrtcSettings,
    port: Arc<WebrtcPort>,
    fans: Mutex<HashMap<StreamName, Weak<FanHandle>>>,
    fan_context: FanContext,
    sessions: Mutex<WhepSessions>,
    next_id: AtomicU64,
    answers: Mutex<TokenBucket>,
    /// Rate limit of log lines about viewers that could not be accepted.
    log_limit: LogLimit,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

#[derive(Default)]
struct WhepSessions {
    live: HashMap<String, WhepSession>,
    pending: usize,
}

struct WhepSession {
    stream: StreamName,
    etag: String,
    /// User fragment of the offer: a patch with a different one requests an ICE
    /// restart.
    remote: String,
    end: CancellationToken,
}

/// Accepted viewer.
#[derive(Debug)]
pub(super) struct SdpAnswer {
    pub(super) session: String,
    pub(super) etag: String,
    pub(super) sdp: String,
    /// Age of the picture that the viewer sees until the next keyframe; `None`
    /// if it starts at the live edge.
    pub(super) behind: Option<Duration>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gateway({:?})", self.inner.port)
    }
}

impl Gateway {
    pub async fn bind(
        settings: GatewaySettings,
        hub: StreamHub,
        renditions: Renditions,
        metrics: Arc<PlaybackMetrics>,
    ) -> io::Result<Self> {
        let public = settings.public_address.as_deref();
        let port = WebrtcPort::bind(settings.address, public, &metrics.transport).await?;
        let inner = GatewayState {
            fans: Mutex::default(),
            fan_context: FanContext {
                hub,
                renditions,
                port: Arc::clone(port.mux()),
                metrics,
                transcode: settings.webrtc.transcode,
            },
            port: Arc::new(port),
            settings: settings.webrtc,
            sessions: Mutex::default(),
            next_id: AtomicU64::new(0),
            answers: Mutex::new(TokenBucket::full(
                ANSWER_BURST,
                ANSWERS_PER_SECOND,
                Instant::now(),
            )),
            log_limit: LogLimit::default(),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.inner.port.local_addr()
    }

    /// Port of the viewers, for publishers too.
    pub fn port(&self) -> Arc<WebrtcPort> {
        Arc::clone(&self.inner.port)
    }

    /// Serves until `shutdown`, then closes the viewers' sessions.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = self.inner.port.run() => {}
            () = shutdown.cancelled() => {}
        }
        self.inner.shutdown.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    pub(super) fn metrics(&self) -> &PlaybackMetrics {
        &self.inner.fan_context.metrics
    }

    /// Accepts a viewer, or rejects it with a reason before resources are
    /// spent. `near`: the request came by a loopback address.
    pub(super) async fn answer(
        &self,
        stream: &str,
        offer: &str,
        near: bool,
    ) -> Result<SdpAnswer, SdpProblem> {
        let name = StreamName::new(stream).map_err(|_| no_such_stream())?;
        self.check_playable(&name)?;
        let fanout = self.fanout(&name).ok_or_else(no_such_stream)?;
        let offer = Offer::parse(offer, self.tracks(&name)).map_err(|why| unmet(&why))?;
        let (guard, token) = self.admit(&name, &offer)?;
        let port = &self.inner.port;
        let wire = port.plug(IceSocket::new(random_hex(8), random_hex(16)));
        let (peer, sdp) =
            Peer::answer(&offer, wire.line(), port)
                .await
                .map_err(|error| match error {
                    PeerError::Offer(_) | PeerError::NoCodec => {
                        SdpProblem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
                    }
                    PeerError::Setup(_) | PeerError::Gathering => {
                        self.complain(&error);
                        SdpProblem::new(
                            StatusCode::INTERNAL_SERVER_ERROR,
                            "internal error; see the log",
                        )
                    }
                })?;
        let (addresses, number) = port.candidates(near);
        let sdp = answer::translated(&offer, &sdp, &addresses, number);
        let answer = SdpAnswer {
            session: guard.session.clone(),
            etag: guard.etag.clone(),
            sdp,
            behind: fanout.still_since.borrow().map(|since| since.elapsed()),
        };
        self.spawn(peer, fanout, guard, wire, token);
        Ok(answer)
    }

    /// Logs at most once a second: an error here, such as no file descriptors
    /// left, concerns all viewers.
    fn complain(&self, error: &PeerError) {
        if let Some(held) = self.inner.log_limit.admit() {
            tracing::warn!(%error, "failed to accept a viewer{held}");
        }
    }

    /// Ends a session; false if the stream has no session of that name.
    pub(super) fn end(&self, stream: &str, session: &str) -> bool {
        let sessions = self.sessions();
        let found = sessions
            .live
            .get(session)
            .filter(|found| found.stream.as_str() == stream);
        if let Some(found) = found {
            found.end.cancel();
        }
        found.is_some()
    }

    /// Entity tag of the session, and the user fragment of its offer.
    pub(super) fn session(&self, stream: &str, session: &str) -> Option<(String, String)> {
        let sessions = self.sessions();
        let found = sessions.live.get(session)?;
        (found.stream.as_str() == stream).then(|| (found.etag.clone(), found.remote.clone()))
    }

    fn spawn(
        &self,
        peer: Peer,
        fanout: Arc<FanHandle>,
        mut guard: Registration,
        wire: PluggedSocket,
        end: CancellationToken,
    ) {
        let id = self.inner.next_id.fetch_add(1, Ordering::Relaxed);
        let crypto = Arc::clone(self.inner.port.crypto());
        let shutdown = self.inner.shutdown.clone();
        let span = tracing::info_span!("viewer", id, stream = %guard.stream);
        let life = async move {
            let stop = async {
                tokio::select! {
                    () = end.cancelled() => "ended by request",
                    () = shutdown.cancelled() => "shutdown",
                }
            };
            let why = peer
                .run(id, &fanout, &*crypto, stop, || guard.connected())
                .await;
            tracing::debug!(why, "viewer disconnected");
            drop((guard, wire));
        };
        self.inner.tasks.spawn(life.instrument(span));
    }

    /// Rejects a stream that is not playable without transcoding, rather than
    /// leave the viewer without a picture.
    fn check_playable(&self, name: &StreamName) -> Result<(), SdpProblem> {
        let context = &self.inner.fan_context;
        let video = context.hub.stream(name).and_then(|stream| stream.video);
        match video.map(|video| video.playback) {
            Some(Playback::Never(what)) if context.transcode == Transcode::Never => {
                let why = format!(
                    "browsers don't play {what}, and webrtc.transcode is \"never\" in watchtower.toml"
                );
                Err(SdpProblem::new(StatusCode::NOT_ACCEPTABLE, why))
            }
            _ => Ok(()),
        }
    }

    /// Tracks a viewer can expect; both if the stream has sent neither yet.
    fn tracks(&self, name: &StreamName) -> StreamTracks {
        let totals = self.inner.fan_context.hub.stream(name);
        let (picture, sound) = totals.map_or((false, false), |stream| {
            let totals = stream.totals;
            (totals.video_units > 0, totals.audio_units > 0)
        });
        let unknown = !picture && !sound;
        StreamTracks {
            picture: picture || unknown,
            sound: sound || unknown,
        }
    }

    /// Fan-out of a stream, started on demand.
    fn fanout(&self, name: &StreamName) -> Option<Arc<FanHandle>> {
        let mut fans = self.inner.fans.locked();
        fans.retain(|_, fanout| fanout.strong_count() > 0);
        let running = fans.get(name).and_then(Weak::upgrade);
        if let Some(running) = running.filter(|fanout| !fanout.ended.is_cancelled()) {
            return Some(running);
        }
        let started = Arc::new(fanout::start(name, self.inner.fan_context.clone())?);
        fans.insert(name.clone(), Arc::downgrade(&started));
        Some(started)
    }

    fn admit(
        &self,
        name: &StreamName,
        offer: &Offer,
    ) -> Result<(Registration, CancellationToken), SdpProblem> {
        if !self.inner.answers.locked().take(Instant::now()) {
            let why = "too many requests at once; try again in a second";
            return Err(SdpProblem::for_now(StatusCode::TOO_MANY_REQUESTS, why));
        }
        let mut sessions = self.sessions();
        let most = self.inner.settings.max_viewers;
        if sessions.live.len() >= most {
            let why = format!("viewer limit reached ({most}, webrtc.max_viewers)");
            return Err(SdpProblem::for_now(StatusCode::SERVICE_UNAVAILABLE, why));
        }
        if sessions.pending >= MOST_PENDING {
            let why = "too many viewers are connecting; try again in a second";
            return Err(SdpProblem::for_now(StatusCode::SERVICE_UNAVAILABLE, why));
        }
        let guard = Registration {
            gateway: self.clone(),
            stream: name.clone(),
            session: random_hex(16),
            etag: random_hex(8),
            pending: true,
        };
        let end = CancellationToken::new();
        let session = WhepSession {
            stream: name.clone(),
            etag: guard.etag.clone(),
            remote: offer.fragment.clone(),
            end: end.clone(),
        };
        sessions.pending += 1;
        sessions.live.insert(guard.session.clone(), session);
        Ok((guard, end))
    }

    fn sessions(&self) -> MutexGuard<'_, WhepSessions> {
        self.inner.sessions.locked()
    }
}

/// Slot of a viewer, freed when dropped.
struct Registration {
    gateway: Gateway,
    stream: StreamName,
    session: String,
    etag: String,
    pending: bool,
}

impl Registration {
    fn connected(&mut self) {
        if std::mem::replace(&mut self.pending, false) {
            self.gateway.sessions().pending -= 1;
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.connected();
        self.gateway.sessions().live.remove(&self.session);
    }
}

/// Problem for an offer that can't be accepted. A missing track may appear
/// later, so then it advises a retry.
fn unmet(why: &Unmet) -> SdpProblem {
    match why {
        Unmet::NoPicture | Unmet::NoSound => {
            SdpProblem::for_now(StatusCode::CONFLICT, why.to_string())
        }
        _ => SdpProblem::new(StatusCode::UNPROCESSABLE_ENTITY, why.to_string()),
    }
}

fn no_such_stream() -> SdpProblem {
    SdpProblem::new(StatusCode::NOT_FOUND, "no live stream of that name")
}
