//! NATS: a message per event. With a stream on the subject JetStream stores and
//! acknowledges it and removes duplicates by `Nats-Msg-Id`; otherwise it is
//! published, and counts as delivered when the server has processed it:
//! subscribers have it then, without acknowledgement.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_nats::client::PublishErrorKind as SendErrorKind;
use async_nats::jetstream::context::{Context, PublishErrorKind, RequestErrorKind};
use async_nats::{Client, ConnectOptions, Event, HeaderMap, ServerError, jetstream};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde_json::{Value, json};

use watchtower_base::secret::Secret;
use watchtower_base::sync::Locked as _;
use watchtower_base::tls::{Connector, Identity};

use super::{Blame, DeliveryOutcome, Destination, ItemOutcome, SinkEvent, shaped};
use crate::settings::{Format, SinkSettings};

const SUBJECT: &str = "watchtower.incidents";
/// Timeout of the request for the stream.
const LOOK_UP: Duration = Duration::from_secs(2);
/// Delay after which the server's asynchronous errors have arrived.
const HEARD_AFTER: Duration = Duration::from_millis(100);
/// Text in a server's permission errors.
const MAY_NOT: &str = "permissions violation for ";
const MOST_REFUSALS: usize = 16;

pub(super) struct Nats {
    address: String,
    token: Option<Secret>,
    tls: Connector,
    subject: String,
    format: Format,
    must_be_stored: bool,
    client: Option<Client>,
    /// Presence of a stream on the subject.
    stream: JetStreamState,
    refusals: DeniedPermissions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JetStreamState {
    /// Not requested yet.
    Unknown,
    There,
    /// No stream, and maybe no JetStream.
    Nowhere,
    /// No permission for the request, or no response; publishing will show it.
    Unconfirmed,
    /// No permission for replies: nothing can be acknowledged.
    NoReplies,
}

/// Permission errors from the server.
#[derive(Clone, Default)]
struct DeniedPermissions(Arc<Mutex<Vec<String>>>);

impl DeniedPermissions {
    fn record(&self, event: &Event) {
        if let Event::ServerError(ServerError::Other(why)) = event {
            let mut all = self.all();
            if why.to_ascii_lowercase().contains(MAY_NOT) && all.len() < MOST_REFUSALS {
                all.push(why.clone());
            }
        }
    }

    /// First error about that subject.
    fn about(&self, what: &str) -> Option<String> {
        let all = self.all();
        let mut such = all
            .iter()
            .filter(|why| why.to_ascii_lowercase().contains(what));
        such.next().cloned()
    }

    fn forget(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.locked()
    }
}

impl Nats {
    pub(super) fn open(settings: &SinkSettings) -> Result<Self, String> {
        let address = settings
            .address
            .as_ref()
            .map_or("", |address| address.expose());
        let sound = ["nats://", "tls://"]
            .iter()
            .any(|scheme| address.starts_with(scheme));
        // Not shown: it may contain a password.
        if !sound || address.parse::<async_nats::ServerAddr>().is_err() {
            return Err("address must be nats://host:port or tls://host:port".to_owned());
        }
        let identity = Identity::of(settings.client_pair.as_ref())?;
        let tls = Connector::new(settings.ca_file.as_deref(), identity)?;
        let subject = settings.index.clone().unwrap_or_else(|| SUBJECT.to_owned());
        let word =
            |word: &str| !word.is_empty() && !word.contains(['*', '>', ' ', '\t', '\r', '\n']);
        if !subject.split('.').all(word) {
            return Err(format!(
                "index must be a subject such as {SUBJECT}, without wildcards and blanks, got {subject:?}"
            ));
        }
        Ok(Self {
            address: address.to_owned(),
            token: settings.token.clone(),
            tls,
            subject,
            format: settings.format,
            must_be_stored: settings.acknowledge,
            client: None,
            stream: JetStreamState::Unknown,
            refusals: DeniedPermissions::default(),
        })
    }

    async fn connect(&self) -> Result<Client, String> {
        let mut options = ConnectOptions::new().name("watchtower");
        // The library ignores user and password of the address.
        let login = self.address.parse::<async_nats::ServerAddr>().ok();
        let login = login.and_then(|server| {
            let user = server.username()?.to_owned();
            Some((decoded(&user), server.password().map(decoded)))
        });
        options = match (login, &self.token) {
            (Some((user, Some(word))), _) => options.user_and_password(user, word),
            (_, Some(token)) => options.token(token.expose().to_owned()),
            (Some((token, None)), None) => options.token(token),
            (None, None) => options,
        };
        // By default the library has no crypto provider.
        options = options.tls_client_config(self.tls.config());
        let refusals = self.refusals.clone();
        options = options.event_callback(move |event| {
            refusals.record(&event);
            std::future::ready(())
        });
        let client = options.connect(self.address.as_str()).await;
        client.map_err(|error| format!("failed to connect: {error}"))
    }

    async fn publish(
        &mut self,
        client: &Client,
        batch: &[SinkEvent],
    ) -> Result<Vec<ItemOutcome>, String> {
        let context = jetstream::new(client.clone());
        // Acknowledgements show whether there is a stream, if one is required.
        let ask = matches!(
            self.stream,
            JetStreamState::Unknown | JetStreamState::Nowhere
        );
        self.refusals.forget();
        if ask && !self.must_be_stored {
            let known = tokio::time::timeout(LOOK_UP, look_up(&context, &self.subject)).await;
            self.stream = known.unwrap_or(JetStreamState::Unconfirmed);
            let denied = self.refusals.about("for subscription");
            if self.stream == JetStreamState::Unconfirmed && denied.is_some() {
                self.stream = JetStreamState::NoReplies;
            }
        }
        let stream_state = self.stream;
        // Requested again should this fail, or be dropped.
        self.stream = JetStreamState::Unknown;
        let items = match stream_state {
            JetStreamState::Nowhere | JetStreamState::NoReplies => {
                self.publish_core(client, batch).await?
            }
            JetStreamState::Unknown | JetStreamState::There | JetStreamState::Unconfirmed => {
                self.store(&context, batch).await
            }
        };
        let taken =
            |item: &ItemOutcome| matches!(item, ItemOutcome::Taken | ItemOutcome::Permanent(_));
        if items.iter().all(taken) {
            self.stream = stream_state;
            return Ok(items);
        }
        let refused = self.refused();
        let hint = match stream_state {
            JetStreamState::Unconfirmed => {
                "; if no stream takes the subject allow $JS.API.STREAM.NAMES, so that it can be asked"
            }
            _ => "",
        };
        let explained = items.into_iter().map(|item| match (item, &refused) {
            (ItemOutcome::Not(..), Some(why)) => ItemOutcome::Not(Blame::Receiver, why.clone()),
            (ItemOutcome::Not(blame, why), None) => ItemOutcome::Not(blame, format!("{why}{hint}")),
            (other, _) => other,
        });
        Ok(explained.collect())
    }

    /// Server's denial of publishing on the subject.
    fn refused(&self) -> Option<String> {
        let subject = self.subject.to_ascii_lowercase();
        self.refusals
            .about(&format!("for publish to \"{subject}\""))
    }

    fn message(&self, sink_event: &SinkEvent) -> (HeaderMap, bytes::Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", sink_event.id.to_string());
        (headers, shaped(sink_event, self.format).to_string().into())
    }

    /// Publishes to a stream, which acknowledges each message.
    async fn store(&self, context: &Context, batch: &[SinkEvent]) -> Vec<ItemOutcome> {
        let mut sent = Vec::with_capacity(batch.len());
        for sink_event in batch {
            let (headers, body) = self.message(sink_event);
            let acknowledgement = context.publish_with_headers(self.subject.clone(), headers, body);
            sent.push(acknowledgement.await);
        }
        // Messages that are too large fail before they are sent; the others are
        // sent.
        let answers = join_all(sent.into_iter().map(|sent| async move { sent?.await })).await;
        let items = answers.into_iter().map(|answer| match answer {
            Ok(_) => ItemOutcome::Taken,
            Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
                match self.must_be_stored {
                    true => ItemOutcome::Not(
                        Blame::Receiver,
                        format!("no JetStream stream for subject {}", self.subject),
                    ),
                    // Without subscribers either, as the server reports.
                    false => ItemOutcome::Taken,
                }
            }
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                ItemOutcome::Permanent(error.to_string())
            }
            Err(error) => ItemOutcome::Not(Blame::Silence, error.to_string()),
        });
        items.collect()
    }

    /// Publishes to subscribers, without JetStream.
    async fn publish_core(
        &self,
        client: &Client,
        batch: &[SinkEvent],
    ) -> Result<Vec<ItemOutcome>, String> {
        self.refusals.forget();
        let mut items = Vec::with_capacity(batch.len());
        for sink_event in batch {
            let (headers, body) = self.message(sink_event);
            let sent = client.publish_with_headers(self.subject.clone(), headers, body);
            items.push(match sent.await {
                Ok(()) => ItemOutcome::Taken,
                Err(error) if error.kind() == SendErrorKind::MaxPayloadExceeded => {
                    ItemOutcome::Permanent(error.to_string())
                }
                Err(error) => ItemOutcome::Not(Blame::Silence, error.to_string()),
            });
        }
        self.round_trip(client).await?;
        if let Some(why) = self.refused() {
            for item in &mut items {
                if *item == ItemOutcome::Taken {
                    *item = ItemOutcome::Not(Blame::Receiver, why.clone());
                }
            }
        }
        Ok(items)
    }

    /// Waits until the server has processed everything sent before: it
    /// processes a connection's commands in order.
    async fn round_trip(&self, client: &Client) -> Result<(), String> {
        let wrong = |error: &dyn std::fmt::Display| format!("connection lost: {error}");
        let inbox = client.new_inbox();
        let mut back = client.subscribe(inbox.clone()).await;
        let back = back.as_mut().map_err(|error| wrong(error))?;
        let sent = client.publish(inbox, bytes::Bytes::new()).await;
        sent.map_err(|error| wrong(&error))?;
        client.flush().await.map_err(|error| wrong(&error))?;
        // A denied subscription is reported in the same order.
        let processed = async {
            loop {
                tokio::time::sleep(HEARD_AFTER).await;
                if !self.refusals.all().is_empty() {
                    return;
                }
            }
        };
        tokio::select! {
            message = back.next() => match message {
                Some(_) => tokio::time::sleep(HEARD_AFTER).await,
                None => return Err("connection lost".to_owned()),
            },
            () = processed => {}
        }
        Ok(())
    }
}

async fn look_up(context: &Context, subject: &str) -> JetStreamState {
    let question = json!({ "subject": subject });
    let response: Result<Value, _> = context.request("STREAM.NAMES", &question).await;
    match response {
        Ok(response) => {
            let names = response["streams"].as_array();
            match (
                &response["error"]["code"],
                names.is_some_and(|names| !names.is_empty()),
            ) {
                (Value::Null, true) => JetStreamState::There,
                (Value::Null, false) => JetStreamState::Nowhere,
                // JetStream is disabled for this account.
                (code, _) if *code == 503 => JetStreamState::Nowhere,
                _ => JetStreamState::Unconfirmed,
            }
        }
        // No responder to the request.
        Err(error) if error.kind() == RequestErrorKind::NoResponders => JetStreamState::Nowhere,
        Err(_) => JetStreamState::Unconfirmed,
    }
}

/// Decodes the percent-encoded user or password of a URL.
fn decoded(text: &str) -> String {
    let pair = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
    let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
    pairs
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

#[async_trait]
impl Destination for Nats {
    async fn deliver(&mut self, batch: &[SinkEvent]) -> DeliveryOutcome {
        let client = match self.client.take() {
            Some(client) => client,
            None => match self.connect().await {
                Ok(client) => client,
                Err(why) => return DeliveryOutcome::retry(why),
            },
        };
        match self.publish(&client, batch).await {
            Ok(items) => {
                self.client = Some(client);
                DeliveryOutcome::PerItem(items)
            }
            Err(why) => DeliveryOutcome::retry(why),
        }
    }
}
