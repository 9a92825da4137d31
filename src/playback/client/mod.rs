//! WHEP client: receives a stream from another server, Watchtower or not, and
//! publishes it on the local hub.
//!
//! ```text
//!  signalling (HTTP)     session (webrtc: ICE, DTLS, RTP)
//!        \                 |  reorder -> depacketizer -> StreamHub
//!         +---- Client ----+
//! ```
//!
//! Lost sessions are restarted, with growing and jittered delays.

mod session;
mod signalling;

use std::time::Duration;

use session::ClientSession;
use signalling::{Signalling, SignallingError};
use tokio_util::sync::CancellationToken;
use url::Url;

use watchtower_base::backoff::Backoff;
use watchtower_base::bearer::{Bearer, shown};
use watchtower_base::stream_name::StreamName;
use watchtower_media::hub::StreamHub;

/// Polling interval for a stream that is not there yet: at least this, at most
/// twice this.
const NOT_YET: Duration = Duration::from_secs(1);

/// Source of the stream, and its local name.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// WHEP URL: `https://host/whep/stream`, or the other server's equivalent.
    pub url: Url,
    pub bearer: Bearer,
    /// Stream name on the local hub.
    pub stream: StreamName,
}

/// Reason the client can't work at all.
#[derive(Debug, thiserror::Error)]
pub enum WhepClientError {
    #[error("failed to set up HTTP: {0}")]
    Http(String),
    /// Response to the first request; later ones of the kind are retried.
    #[error(
        "{url} rejected the request ({status}): {detail}; expected a WHEP URL, and the server's token in WATCHTOWER_CONSOLE_TOKEN"
    )]
    Refused {
        url: String,
        status: u16,
        detail: String,
    },
}

/// Reason a session ended or failed to start.
#[derive(Debug, thiserror::Error)]
enum SessionFailure {
    #[error(transparent)]
    Refused(#[from] SignallingError),
    #[error("failed to set up a peer connection: {0}")]
    Setup(String),
    #[error("unusable answer: {0}")]
    Answer(String),
    #[error("{0}")]
    Over(&'static str),
}

/// Client that keeps receiving one stream.
#[derive(Debug)]
pub struct WhepClient {
    settings: ClientSettings,
    signalling: Signalling,
}

impl WhepClient {
    pub fn new(settings: ClientSettings) -> Result<Self, WhepClientError> {
        let signalling = Signalling::new(settings.url.clone(), settings.bearer.clone())
            .map_err(WhepClientError::Http)?;
        Ok(Self {
            settings,
            signalling,
        })
    }

    /// Receives until `shutdown`, and then ends the session on the server. The
    /// only error is a first request rejected for a missing or wrong token.
    pub async fn run(
        self,
        hub: StreamHub,
        shutdown: CancellationToken,
    ) -> Result<(), WhepClientError> {
        let mut backoff = Backoff::default();
        let mut known = false;
        let mut waiting = false;
        loop {
            let outcome = self.receive_once(&hub, &shutdown, &mut backoff).await;
            if shutdown.is_cancelled() {
                return Ok(());
            }
            let failure = match outcome {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let wait = match &failure {
                SessionFailure::Refused(SignallingError::Status {
                    status: 404,
                    retry_after,
                    ..
                }) => {
                    known = true;
                    if !std::mem::replace(&mut waiting, true) {
                        let url = shown(&self.settings.url);
                        tracing::info!("waiting for the stream at {url}");
                    }
                    let wait = NOT_YET.mul_f64(rand::random_range(1.0..=2.0));
                    retry_after.map_or(wait, |advised| wait.max(advised.min(10 * NOT_YET)))
                }
                SessionFailure::Refused(SignallingError::Status {
                    status: status @ (401 | 403),
                    detail,
                    ..
                }) if !known => {
                    return Err(WhepClientError::Refused {
                        url: shown(&self.settings.url),
                        status: *status,
                        detail: detail.clone(),
                    });
                }
                failure => {
                    known |= !matches!(failure, SessionFailure::Refused(_));
                    waiting = false;
                    let wait = backoff.next(failure.retry_after());
                    let seconds = wait.as_secs_f64();
                    tracing::warn!("{failure}; retrying in {seconds:.1} s");
                    wait
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    async fn receive_once(
        &self,
        hub: &StreamHub,
        shutdown: &CancellationToken,
        backoff: &mut Backoff,
    ) -> Result<(), SessionFailure> {
        let mut session = ClientSession::offer(&self.settings.url).await?;
        let opened = tokio::select! {
            opened = self.signalling.open(session.sdp()) => opened,
            () = shutdown.cancelled() => {
                session.close().await;
                return Ok(());
            }
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(refusal) => {
                session.close().await;
                return Err(refusal.into());
            }
        };
        let stream = &self.settings.stream;
        let received = async {
            session.accept(opened.answer).await?;
            tracing::info!(%stream, "receiving from {}", shown(&self.settings.url));
            session.receive(hub, stream, || backoff.reset()).await
        };
        let outcome = tokio::select! {
            outcome = received => outcome,
            () = shutdown.cancelled() => Ok(()),
        };
        session.close().await;
        if let Some(url) = opened.session {
            self.signalling.end(url).await;
        }
        outcome
    }
}

impl SessionFailure {
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(SignallingError::Status { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }
}
