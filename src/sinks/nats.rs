//! NATS: a message an event, through JetStream where a stream takes the
//! subject (it then is stored before it counts as taken, and twins are known
//! by `Nats-Msg-Id`), else published and flushed.

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::{Client, ConnectOptions, HeaderMap, jetstream};
use async_trait::async_trait;
use futures_util::future::join_all;

use super::{Blame, Destination, Item, Notice, Outcome, shaped};
use crate::config::{Format, Secret, SinkSettings};

const SUBJECT: &str = "watchtower.incidents";

pub(super) struct Nats {
    address: String,
    token: Option<Secret>,
    ca_file: Option<std::path::PathBuf>,
    subject: String,
    format: Format,
    must_be_stored: bool,
    client: Option<Client>,
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
        // Not shown: there may be a password in it.
        if !sound || address.parse::<async_nats::ServerAddr>().is_err() {
            return Err("address must be nats://host:port or tls://host:port".to_owned());
        }
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
            ca_file: settings.ca_file.clone(),
            subject,
            format: settings.format,
            must_be_stored: settings.acknowledge,
            client: None,
        })
    }

    async fn connect(&self) -> Result<Client, String> {
        let mut options = ConnectOptions::new().name("watchtower");
        // The library leaves out what the address says of who connects.
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
        if let Some(file) = &self.ca_file {
            options = options.add_root_certificates(file.clone());
        }
        let client = options.connect(self.address.as_str()).await;
        client.map_err(|error| format!("failed to connect: {error}"))
    }

    async fn publish(&self, client: &Client, batch: &[Notice]) -> Result<Vec<Item>, String> {
        let stream = jetstream::new(client.clone());
        let mut sent = Vec::with_capacity(batch.len());
        for notice in batch {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", notice.id.to_string());
            let body = shaped(notice, self.format).to_string();
            let acknowledgement =
                stream.publish_with_headers(self.subject.clone(), headers, body.into());
            sent.push(acknowledgement.await);
        }
        // What is too large fails before it is sent; the others go.
        let answers = join_all(sent.into_iter().map(|sent| async move { sent?.await })).await;
        let mut unstored = false;
        let items = answers.into_iter().map(|answer| match answer {
            Ok(_) => Item::Taken,
            Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
                unstored = true;
                match self.must_be_stored {
                    true => Item::Not(
                        Blame::Receiver,
                        format!("no JetStream stream takes {}", self.subject),
                    ),
                    // Whoever listens has it.
                    false => Item::Taken,
                }
            }
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                Item::Never(error.to_string())
            }
            Err(error) => Item::Not(Blame::Silence, error.to_string()),
        });
        let items: Vec<_> = items.collect();
        if unstored {
            client.flush().await.map_err(|error| error.to_string())?;
        }
        Ok(items)
    }
}

/// Of a URL's user and password.
fn decoded(text: &str) -> String {
    let pair = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
    let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
    pairs
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

#[async_trait]
impl Destination for Nats {
    async fn deliver(&mut self, batch: &[Notice]) -> Outcome {
        let client = match self.client.take() {
            Some(client) => client,
            None => match self.connect().await {
                Ok(client) => client,
                Err(why) => return Outcome::retry(why),
            },
        };
        match self.publish(&client, batch).await {
            Ok(items) => {
                self.client = Some(client);
                Outcome::PerItem(items)
            }
            Err(why) => Outcome::retry(why),
        }
    }
}
