//! Web Push: notifications of browsers whose page is closed (RFC 8030, 8291,
//! 8292).
//!
//! A subscription is a sink of its own: a [`Runner`] with the cursor, filter,
//! rate limit, retries and dead letters of every sink, made when a browser
//! subscribes and ended when it unsubscribes or its push service says that it
//! is gone.

mod address;
mod delivery;
mod encryption;
pub mod settings;
mod subscription;
mod vapid;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use watchtower_base::http_client::HttpClientBuilder;
use watchtower_base::sync::Locked as _;
use watchtower_domain::sink_status::{Delivery, SinkBoard};
use watchtower_record::Record;
use watchtower_record::store::{
    CursorAdvance, CursorRemoval, DeadLetterRemoval, Readers, WriteRefusal,
};

use crate::http::{SinkResponse, reason};
use crate::metrics::SinkMetrics;
use crate::runner::{Runner, cursor_name};
use crate::settings::SinkSettings;
use crate::{Blame, DeliveryOutcome, ItemOutcome};

pub use address::EndpointError;
use delivery::{PushDestination, PushMessage, PushOutcome, outcome};
use encryption::encrypt;
use settings::PushSettings;
use subscription::StoredSubscription;
pub use subscription::{MOST_SUBSCRIPTIONS, NewSubscription, PushSubscription, SubscribeError};
use vapid::VapidKey;

/// First part of the names of subscriptions among the sinks. Sinks of the
/// settings have no blank in theirs.
pub(crate) const PREFIX: &str = "push ";
const KIND: &str = "web_push";
/// Time limit of a request.
const PATIENCE: Duration = Duration::from_secs(15);
/// Maximum bytes read of a response, for its reason.
const LARGEST_ANSWER: usize = 1 << 10;
/// Dead letters removed with a subscription at a time.
const PAGE: usize = 500;
/// Retry delay after the store could not be read or written.
const STORE_AGAIN: Duration = Duration::from_secs(5);

/// Web Push of this server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WebPush {
    inner: Arc<PushState>,
}

#[derive(Debug)]
struct PushState {
    settings: PushSettings,
    key: VapidKey,
    file: PathBuf,
    /// Client of public push services.
    public: Client,
    /// Client of those in `[push] services`, without a proxy.
    listed: Client,
    subscriptions: Mutex<Vec<StoredSubscription>>,
    /// Number of changes of the subscriptions.
    changes: watch::Sender<u64>,
}

/// Reason a test message was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PushTestError {
    #[error("push subscription not found")]
    Missing,
    #[error("push subscription has ended: subscribe again")]
    Gone,
    #[error("push service did not accept the message: {0}")]
    Rejected(String),
}

impl WebPush {
    /// Reads the key pair and the subscriptions in the data folder, of which
    /// the pair is made if it is missing.
    pub fn open(settings: PushSettings, data: &Path) -> Result<Self, String> {
        let key = VapidKey::open(&data.join("push.key"))?;
        let file = data.join("push.json");
        let mut subscriptions = subscription::read(&file)?;
        let public = key.public();
        subscriptions.retain(|one| one.server_key == public);
        let client = |builder: HttpClientBuilder| {
            let built = builder.build();
            built.map_err(|error| format!("failed to set up HTTP for Web Push: {error}"))
        };
        let guarded = HttpClientBuilder::new(false, PATIENCE).resolver(address::PublicResolver);
        let inner = PushState {
            settings,
            key,
            file,
            public: client(guarded)?,
            listed: client(HttpClientBuilder::new(true, PATIENCE))?,
            subscriptions: Mutex::new(subscriptions),
            changes: watch::Sender::new(0),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Public key, by which browsers subscribe: a point in base64url.
    pub fn public_key(&self) -> String {
        self.inner.key.public()
    }

    /// Subscriptions, the oldest first.
    pub fn subscriptions(&self) -> Vec<PushSubscription> {
        self.lock().iter().map(StoredSubscription::shown).collect()
    }

    /// Subscribes a browser, in place of an earlier subscription of it. An equal
    /// one stays.
    pub fn subscribe(&self, new: &NewSubscription) -> Result<PushSubscription, SubscribeError> {
        address::endpoint(new.endpoint.expose(), &self.inner.settings.services)?;
        let stored = StoredSubscription::new(new, self.public_key())?;
        self.change(|all| {
            if let Some(same) = all.iter().find(|one| one.is_same(&stored)) {
                return Ok(same.shown());
            }
            all.retain(|one| !one.is_of(&stored));
            if all.len() >= MOST_SUBSCRIPTIONS {
                return Err(SubscribeError::Full);
            }
            all.push(stored.clone());
            Ok(stored.shown())
        })
    }

    /// Ends a subscription; false if there is none of that id.
    pub fn unsubscribe(&self, id: Uuid) -> io::Result<bool> {
        self.change(|all| {
            let before = all.len();
            all.retain(|one| one.id != id);
            Ok(all.len() < before)
        })
    }

    /// Sends a test message, once.
    pub async fn test(&self, id: Uuid) -> Result<(), PushTestError> {
        let subscription = self.stored(id).ok_or(PushTestError::Missing)?;
        let answer = match self.send(&subscription, &PushMessage::test()).await {
            Ok(answer) => outcome(&answer),
            Err(other) => PushOutcome::Known(other),
        };
        let why = match answer {
            PushOutcome::Gone => {
                self.forget(id);
                return Err(PushTestError::Gone);
            }
            PushOutcome::Known(DeliveryOutcome::Retry { why, .. }) => why,
            PushOutcome::Known(DeliveryOutcome::PerItem(items)) => match items.into_iter().next() {
                Some(ItemOutcome::Permanent(why) | ItemOutcome::Not(_, why)) => why,
                Some(ItemOutcome::Taken) | None => return Ok(()),
            },
            PushOutcome::Known(_) => return Ok(()),
        };
        Err(PushTestError::Rejected(why))
    }

    /// Delivers events to the subscriptions of the moment, until `shutdown`.
    pub async fn run(
        self,
        findings: Record,
        board: SinkBoard,
        metrics: Arc<SinkMetrics>,
        shutdown: CancellationToken,
    ) {
        self.remove_orphans(&findings).await;
        let mut changes = self.inner.changes.subscribe();
        let mut running: HashMap<Uuid, CancellationToken> = HashMap::new();
        let mut tasks = JoinSet::new();
        loop {
            changes.borrow_and_update();
            let wanted = self.lock().clone();
            running.retain(|id, end| {
                let stays = wanted.iter().any(|one| one.id == *id);
                if !stays {
                    end.cancel();
                }
                stays
            });
            for one in wanted {
                running.entry(one.id).or_insert_with(|| {
                    let end = shutdown.child_token();
                    let following = Following {
                        name: sink_name(one.id),
                        findings: findings.clone(),
                        board: board.clone(),
                        metrics: Arc::clone(&metrics),
                    };
                    let (ending, closing) = (end.clone(), shutdown.clone());
                    tasks.spawn(following.run(self.clone(), one, ending, closing));
                    end
                });
            }
            // Those that have ended are let go of.
            while tasks.try_join_next().is_some() {}
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { break },
                () = shutdown.cancelled() => break,
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Removes the cursors of subscriptions that ended while the server was
    /// down. On failure it is tried again at the next start.
    async fn remove_orphans(&self, findings: &Record) {
        let known: Vec<_> = self
            .lock()
            .iter()
            .map(|one| cursor_name(&sink_name(one.id)))
            .collect();
        let cursors = findings.cursors(&cursor_name(PREFIX)).await;
        for cursor in cursors.unwrap_or_default() {
            if !known.contains(&cursor) {
                drop(findings.write(CursorRemoval { name: cursor }).await);
            }
        }
    }

    /// Sends a message, and returns the response of the push service.
    async fn send(
        &self,
        subscription: &StoredSubscription,
        message: &PushMessage,
    ) -> Result<SinkResponse, DeliveryOutcome> {
        let never = |why: String| DeliveryOutcome::PerItem(vec![ItemOutcome::Permanent(why)]);
        let state = &self.inner;
        let parts = subscription.url().zip(subscription.keys());
        let Some((url, keys)) = parts else {
            return Err(never("invalid subscription".to_owned()));
        };
        let body = encrypt(message.text.to_string().as_bytes(), &keys);
        let body = body.map_err(|error| never(error.to_string()))?;
        let audience = url.origin().ascii_serialization();
        let contact = state.settings.contact.as_deref();
        let token = state
            .key
            .authorization(&audience, contact, Timestamp::now());
        let headers = token.and_then(|token| message.headers(&token));
        let headers = headers.map_err(never)?;
        let client = match address::is_listed(&url, &state.settings.services) {
            true => &state.listed,
            false => &state.public,
        };
        let request = client.post(url).headers(headers).body(body);
        let response = request
            .send()
            .await
            .map_err(|error| DeliveryOutcome::Retry {
                why: format!("unreachable: {}", reason(error)),
                after: None,
                blame: Blame::Receiver,
            })?;
        SinkResponse::read(response, LARGEST_ANSWER).await
    }

    /// Ends a subscription that its push service does not know any more.
    fn forget(&self, id: Uuid) {
        match self.unsubscribe(id) {
            Ok(_) => tracing::info!(sink = sink_name(id), "push subscription has ended"),
            Err(error) => {
                tracing::warn!(sink = sink_name(id), %error, "failed to remove a push subscription");
            }
        }
    }

    fn stored(&self, id: Uuid) -> Option<StoredSubscription> {
        self.lock().iter().find(|one| one.id == id).cloned()
    }

    /// Changes the subscriptions once that is stored.
    fn change<T, E: From<io::Error>>(
        &self,
        change: impl FnOnce(&mut Vec<StoredSubscription>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut all = self.lock();
        let mut changed = all.clone();
        let result = change(&mut changed)?;
        subscription::write(&self.inner.file, &changed)?;
        *all = changed;
        drop(all);
        self.inner.changes.send_modify(|count| *count += 1);
        Ok(result)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<StoredSubscription>> {
        self.inner.subscriptions.locked()
    }
}

/// Name of a subscription among the sinks: by the random end of its id.
fn sink_name(id: Uuid) -> String {
    let id = id.simple().to_string();
    format!("{PREFIX}{}", &id[id.len() - 8..])
}

/// Follower of the events for one subscription.
struct Following {
    name: String,
    findings: Record,
    board: SinkBoard,
    metrics: Arc<SinkMetrics>,
}

impl Following {
    /// Delivers events until `end`, which comes with the shutdown or with the
    /// end of the subscription, of which nothing is kept then.
    async fn run(
        self,
        push: WebPush,
        subscription: StoredSubscription,
        end: CancellationToken,
        shutdown: CancellationToken,
    ) {
        let Some((saved, dead)) = end.run_until_cancelled(self.position()).await else {
            return;
        };
        let name = self.name.as_str();
        self.board.add(Delivery::new(name, KIND, saved, dead));
        self.metrics.introduce_sink(name);
        let settings = SinkSettings::web_push(
            name,
            subscription.minimum_severity,
            subscription.streams.clone(),
        );
        let destination = PushDestination {
            push,
            subscription: subscription.id,
        };
        let runner = Runner::new(
            settings,
            Box::new(destination),
            saved,
            self.board.clone(),
            Arc::clone(&self.metrics),
        );
        runner.run(self.findings.clone(), end).await;
        if !shutdown.is_cancelled() {
            self.remove().await;
        }
    }

    /// Position in the outbox, which for a new subscription is its end, and the
    /// number of dead letters.
    async fn position(&self) -> (u64, u64) {
        loop {
            match self.stored_position().await {
                Ok(position) => return position,
                Err(error) => {
                    let sink = &self.name;
                    tracing::warn!(sink, %error, "sink waiting for the database");
                    tokio::time::sleep(STORE_AGAIN).await;
                }
            }
        }
    }

    async fn stored_position(&self) -> Result<(u64, u64), WriteRefusal> {
        let cursor = cursor_name(&self.name);
        let saved = match self.findings.cursor_if_any(&cursor).await? {
            Some(saved) => saved,
            None => {
                let last = self.findings.read_for_sink(Readers::last_happened).await?;
                self.findings
                    .write(CursorAdvance::new(&cursor, last))
                    .await?;
                last
            }
        };
        Ok((saved, self.findings.dead_count(&self.name).await?))
    }

    /// Removes what is kept of an ended subscription. What fails to be removed
    /// is at the next start, or stays unseen.
    async fn remove(&self) {
        let cursor = cursor_name(&self.name);
        drop(self.findings.write(CursorRemoval { name: cursor }).await);
        while let Ok(page) = self.findings.dead(&self.name, None, PAGE).await {
            let mut removed = 0;
            for letter in page.items {
                let removal = DeadLetterRemoval {
                    sink: self.name.clone(),
                    event: letter.event,
                };
                removed += usize::from(self.findings.write(removal).await.is_ok());
            }
            if removed == 0 {
                break;
            }
        }
        self.board.remove(&self.name);
        self.metrics.remove_sink(&self.name);
    }
}
