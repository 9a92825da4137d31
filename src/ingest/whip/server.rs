//! WHIP server: admission, sessions and their ends.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, info, warn};

use watchtower_base::log_limit::LogLimit;
use watchtower_base::publish_tokens::{PublishPermit, PublishTokens};
use watchtower_base::stream_name::StreamName;
use watchtower_base::sync::Locked as _;
use watchtower_base::token_bucket::TokenBucket;
use watchtower_media::hub::StreamHub;
use watchtower_transport::fragment;
use watchtower_transport::offer::Unmet;
use watchtower_transport::offer::publish::{AcceptedCodecs, PublishCodec, PublishOffer};
use watchtower_transport::receiving_peer::{ReceivingPeer, ReceivingPeerError};
use watchtower_transport::signalling::problem::SdpProblem;
use watchtower_transport::signalling::{is_near, no_such_session};
use watchtower_transport::webrtc_port::{IceRestarter, WebrtcPort, random_hex};

use super::bearer::authorize;
use super::session::{WhipEnd, WhipSession};
use crate::gate::PublishGate;
use crate::metrics::IngestMetrics;

/// Sessions beyond the limit of streams: publishers that connect, or take a
/// stream over.
const SPARE_SESSIONS: usize = 32;
/// Rate limit of answers, a second and burst: an answer costs about a
/// millisecond, and after a restart of the server all publishers return.
const ANSWERS_PER_SECOND: f64 = 20.0;
const ANSWER_BURST: f64 = 64.0;

/// Codecs that are decoded for the analysts, and played or re-encoded for
/// viewers.
const ACCEPTED: AcceptedCodecs = AcceptedCodecs {
    vp8: true,
    vp9: true,
    av1: true,
    opus: true,
};

/// Limits of publishers, those of RTMP.
#[derive(Debug, Clone)]
pub struct WhipSettings {
    /// Maximum number of streams, including those waiting for their publishers.
    pub streams: usize,
    /// Timeout of ICE and DTLS, and again to the first picture.
    pub handshake: Duration,
    /// Time without a datagram after which a publisher is gone.
    pub idle: Duration,
}

/// WHIP server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WhipServer {
    inner: Arc<WhipState>,
}

#[derive(Debug)]
struct WhipState {
    settings: WhipSettings,
    gate: Arc<PublishGate>,
    tokens: Arc<dyn PublishTokens>,
    port: Arc<WebrtcPort>,
    hub: StreamHub,
    metrics: Arc<IngestMetrics>,
    sessions: Mutex<HashMap<String, RegisteredWhip>>,
    answers: Mutex<TokenBucket>,
    /// Rate limit of log lines about rejected requests and ended sessions.
    log_limit: LogLimit,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

#[derive(Debug)]
struct RegisteredWhip {
    stream: StreamName,
    etag: String,
    /// ICE user fragment of the publisher.
    fragment: String,
    end: CancellationToken,
    /// Set once its offer was answered.
    restarter: Option<IceRestarter>,
}

/// Accepted publisher.
#[derive(Debug)]
pub(super) struct WhipAnswer {
    pub(super) session: String,
    pub(super) etag: String,
    pub(super) sdp: String,
}

impl WhipServer {
    pub fn new(
        settings: WhipSettings,
        gate: Arc<PublishGate>,
        tokens: Arc<dyn PublishTokens>,
        port: Arc<WebrtcPort>,
        hub: StreamHub,
        metrics: Arc<IngestMetrics>,
    ) -> Self {
        let answers = TokenBucket::full(ANSWER_BURST, ANSWERS_PER_SECOND, Instant::now());
        Self {
            inner: Arc::new(WhipState {
                settings,
                gate,
                tokens,
                port,
                hub,
                metrics,
                sessions: Mutex::default(),
                answers: Mutex::new(answers),
                log_limit: LogLimit::default(),
                tasks: TaskTracker::new(),
                shutdown: CancellationToken::new(),
            }),
        }
    }

    /// Waits for `shutdown`, then ends the sessions, and with them their
    /// streams.
    pub async fn run(self, shutdown: CancellationToken) {
        shutdown.cancelled().await;
        self.inner.shutdown.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    pub(super) fn metrics(&self) -> &IngestMetrics {
        &self.inner.metrics
    }

    /// Authorizes a publisher. A wrong key is answered late.
    pub(super) async fn authorize(
        &self,
        stream: &str,
        headers: &HeaderMap,
        peer: IpAddr,
    ) -> Result<(StreamName, PublishPermit), SdpProblem> {
        let inner = &self.inner;
        // The key is checked first, so that unauthorized peers learn nothing
        // about stream names.
        let name = StreamName::new(stream).ok();
        let any = || StreamName::new("any").ok();
        let Some(checked) = name.clone().or_else(any) else {
            return Err(no_such_name());
        };
        match authorize(&inner.gate, &*inner.tokens, &checked, headers, peer) {
            Ok(permit) => name.map(|name| (name, permit)).ok_or_else(no_such_name),
            Err((refusal, delay)) => {
                self.note_rejected(peer, &refusal.to_string());
                tokio::time::sleep(delay).await;
                let (status, why) = (refusal.status(), refusal.to_string());
                Err(match status {
                    StatusCode::TOO_MANY_REQUESTS => SdpProblem::for_now(status, why),
                    _ => SdpProblem::new(status, why),
                })
            }
        }
    }

    /// Accepts a publisher, or rejects it with a reason before resources are
    /// spent.
    pub(super) async fn answer(
        &self,
        stream: StreamName,
        permit: PublishPermit,
        offer: &str,
        headers: &HeaderMap,
        peer: SocketAddr,
    ) -> Result<WhipAnswer, SdpProblem> {
        let refused = |problem: SdpProblem| {
            self.note_rejected(peer.ip(), problem.detail());
            problem
        };
        let parsed = PublishOffer::parse(offer, ACCEPTED);
        let parsed = parsed.map_err(|why| refused(unmet(&why)))?;
        let guard = self.admit(&stream, &parsed).map_err(refused)?;
        let near = is_near(headers);
        let answered = ReceivingPeer::answer(&parsed, near, &self.inner.port).await;
        let (receiving, sdp) = answered.map_err(|error| refused(failed(&error)))?;
        if let Some(session) = self.sessions().get_mut(&guard.session) {
            session.restarter = Some(receiving.restarter());
        }
        let answer = WhipAnswer {
            session: guard.session.clone(),
            etag: guard.etag.clone(),
            sdp,
        };
        let accepted = AcceptedPublisher {
            codec: parsed.video.codec,
            stream,
            permit,
            from: peer,
        };
        self.spawn(receiving, accepted, guard);
        Ok(answer)
    }

    fn spawn(&self, peer: ReceivingPeer, accepted: AcceptedPublisher, guard: WhipRegistration) {
        let server = self.clone();
        let AcceptedPublisher {
            codec,
            stream,
            permit,
            from,
        } = accepted;
        let span = tracing::info_span!("whip", peer = %from, %stream);
        let life = async move {
            let inner = &server.inner;
            let began = Instant::now();
            info!(?codec, "WHIP publisher accepted");
            let session = WhipSession {
                peer,
                codec,
                stream,
                permit,
                hub: &inner.hub,
                metrics: &inner.metrics,
                settings: &inner.settings,
            };
            let end = session.run(guard.end.clone(), inner.shutdown.clone()).await;
            drop(guard);
            server.ended(&end, from.ip(), began.elapsed());
        };
        self.inner.tasks.spawn(life.instrument(span));
    }

    fn ended(&self, end: &WhipEnd, peer: IpAddr, duration: Duration) {
        self.inner.metrics.whip_session(end.word());
        let seconds = duration.as_secs_f64();
        if end.is_refusal() {
            self.note_rejected(peer, &end.to_string());
        } else {
            info!("WHIP session closed after {seconds:.1} s: {end}");
        }
    }

    fn note_rejected(&self, peer: IpAddr, why: &str) {
        self.inner.hub.note_rejected(peer, why.to_owned());
        if let Some(held) = self.inner.log_limit.admit() {
            warn!(%peer, "WHIP publisher rejected: {why}{held}");
        }
    }

    /// Ends a session; false if the stream has no session of that name.
    pub(super) fn end(&self, stream: &str, session: &str) -> bool {
        let sessions = self.sessions();
        let found = sessions
            .get(session)
            .filter(|found| found.stream.as_str() == stream);
        if let Some(found) = found {
            found.end.cancel();
        }
        found.is_some()
    }

    /// Entity tag of the session, and the user fragment of its publisher.
    pub(super) fn session(&self, stream: &str, session: &str) -> Option<(String, String)> {
        let sessions = self.sessions();
        let found = sessions.get(session)?;
        (found.stream.as_str() == stream).then(|| (found.etag.clone(), found.fragment.clone()))
    }

    /// Restarts the ICE of a session; returns the fragment of the answer and
    /// the new entity tag.
    pub(super) fn restart(
        &self,
        session: &str,
        fragment: &str,
        near: bool,
    ) -> Result<(String, String), SdpProblem> {
        let restart = fragment::Restart::parse(fragment).ok_or_else(|| {
            let why = "an ICE restart needs a=ice-ufrag and a=ice-pwd";
            SdpProblem::new(StatusCode::UNPROCESSABLE_ENTITY, why)
        })?;
        let mut sessions = self.sessions();
        let found = sessions.get_mut(session).ok_or_else(no_such_session)?;
        let restarter = found.restarter.as_ref().ok_or_else(no_such_session)?;
        let credentials = restarter.restart();
        restart.remote.clone_into(&mut found.fragment);
        found.etag = random_hex(8);
        let (addresses, port) = self.inner.port.candidates(near);
        let answer = restart.answer(&credentials, &addresses, port);
        Ok((answer, found.etag.clone()))
    }

    fn admit(
        &self,
        stream: &StreamName,
        offer: &PublishOffer,
    ) -> Result<WhipRegistration, SdpProblem> {
        let inner = &self.inner;
        if !inner.answers.locked().take(Instant::now()) {
            let why = "too many publishers at once; try again in a second";
            return Err(SdpProblem::for_now(StatusCode::TOO_MANY_REQUESTS, why));
        }
        let unavailable = |why: String| {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Err(SdpProblem::for_now(status, why))
        };
        let most = inner.settings.streams;
        let streams = inner.hub.streams();
        if streams.len() >= most && !streams.iter().any(|one| one.name == *stream) {
            return unavailable(format!("stream limit reached ({most}, rtmp.max_streams)"));
        }
        let mut sessions = self.sessions();
        if sessions.len() >= most + SPARE_SESSIONS {
            return unavailable("too many publishers are connecting; try again in a second".into());
        }
        let guard = WhipRegistration {
            server: self.clone(),
            session: random_hex(16),
            etag: random_hex(8),
            end: CancellationToken::new(),
        };
        let session = RegisteredWhip {
            stream: stream.clone(),
            etag: guard.etag.clone(),
            fragment: offer.fragment.clone(),
            end: guard.end.clone(),
            restarter: None,
        };
        sessions.insert(guard.session.clone(), session);
        inner.metrics.whip_open.inc();
        Ok(guard)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, RegisteredWhip>> {
        self.inner.sessions.locked()
    }
}

/// Publisher whose offer was answered.
struct AcceptedPublisher {
    /// Codec of its video.
    codec: PublishCodec,
    stream: StreamName,
    permit: PublishPermit,
    from: SocketAddr,
}

/// Slot of a publisher, freed when dropped.
struct WhipRegistration {
    server: WhipServer,
    session: String,
    etag: String,
    end: CancellationToken,
}

impl Drop for WhipRegistration {
    fn drop(&mut self) {
        self.server.sessions().remove(&self.session);
        self.server.inner.metrics.whip_open.dec();
    }
}

fn unmet(why: &Unmet) -> SdpProblem {
    let status = match why {
        Unmet::NotSdp => StatusCode::BAD_REQUEST,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    SdpProblem::new(status, why.to_string())
}

fn failed(error: &ReceivingPeerError) -> SdpProblem {
    match error {
        ReceivingPeerError::Offer(_) => {
            SdpProblem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
        }
        ReceivingPeerError::Setup(_) | ReceivingPeerError::Gathering => {
            warn!(%error, "failed to accept a WHIP publisher");
            let why = "internal error; see the log";
            SdpProblem::new(StatusCode::INTERNAL_SERVER_ERROR, why)
        }
    }
}

fn no_such_name() -> SdpProblem {
    let why = "the stream name must be 1 to 64 characters of A-Z a-z 0-9 . _ - and not start with \
               a dot";
    SdpProblem::new(StatusCode::NOT_FOUND, why)
}
