//! Store with sinks, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use watchtower::app::config::Settings;
use watchtower::base::metrics::MetricsRegistry;
use watchtower::base::stream_name::StreamName;
use watchtower::domain::finding::{
    Category, Evidence, Finding, FrameRef, ModelRef, Observation, Severity,
};
use watchtower::domain::incident::Status;
use watchtower::domain::sink_status::{Delivery, SinkBoard};
use watchtower::record::Record;
use watchtower::record::settings::StoreSettings;
use watchtower::record::store::{Readers, StatusChange};
use watchtower::sinks::Sinks;
use watchtower::sinks::metrics::SinkMetrics;
use watchtower::sinks::settings::SinkSettings;

use crate::common::PATIENCE;

pub(crate) const TOKEN: &str = "t0ken-of-the-tests";
pub(crate) const SECRET: &str = "s3cret-of-the-tests";

pub(crate) struct SinkHarness {
    pub(crate) dir: TempDir,
    pub(crate) bus: Record,
    pub(crate) board: SinkBoard,
    pub(crate) metrics: Arc<SinkMetrics>,
    pub(crate) registry: MetricsRegistry,
    writer: Option<JoinHandle<()>>,
    running: Option<(CancellationToken, tokio::task::JoinHandle<()>)>,
}

pub(crate) fn open(dir: &Path) -> (Record, JoinHandle<()>) {
    let settings = StoreSettings::default();
    Record::open(&dir.join("data"), &dir.join("logs"), &[], &settings).unwrap()
}

/// Sinks of a `watchtower.toml`, with the test token and secret.
pub(crate) fn settings(text: &str) -> Vec<SinkSettings> {
    let mut settings = Settings::parse(text, "watchtower.toml").unwrap();
    for sink in &mut settings.sinks {
        sink.override_from(|name| match name.rsplit('_').next() {
            Some("TOKEN") => Some(TOKEN.to_owned()),
            Some("SECRET") => Some(SECRET.to_owned()),
            _ => None,
        });
    }
    settings.sinks
}

impl SinkHarness {
    pub(crate) fn new() -> Self {
        crate::common::log::capture();
        let dir = tempfile::tempdir().unwrap();
        let (bus, writer) = open(dir.path());
        let mut registry = MetricsRegistry::default();
        Self {
            dir,
            bus,
            board: SinkBoard::default(),
            metrics: Arc::new(SinkMetrics::new(&mut registry)),
            registry,
            writer: Some(writer),
            running: None,
        }
    }

    /// Starts; `FOLDER` in the text is the folder of the harness.
    pub(crate) async fn with(text: &str) -> Self {
        let mut harness = Self::new();
        harness.start(text).await;
        harness
    }

    pub(crate) async fn start(&mut self, text: &str) {
        let text = text.replace("FOLDER", &self.dir.path().display().to_string());
        self.board = SinkBoard::default();
        let sinks = Sinks::open(&settings(&text), &self.bus, &self.board, &self.metrics).await;
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(sinks.unwrap().run(self.bus.clone(), shutdown.clone()));
        self.running = Some((shutdown, running));
    }

    pub(crate) async fn stop(&mut self) {
        if let Some((shutdown, running)) = self.running.take() {
            shutdown.cancel();
            running.await.unwrap();
        }
    }

    pub(crate) async fn finding(&self, finding: Finding) -> Uuid {
        self.bus.publish(finding).await.unwrap().incident.unwrap()
    }

    pub(crate) async fn decide(&self, incident: Uuid, status: Status) {
        let verdict = StatusChange {
            incident,
            status,
            by: "Ada".to_owned(),
            why: "seen | by = me".to_owned(),
            false_positive: false,
            version: None,
        };
        self.bus.write(verdict).await.unwrap();
    }

    /// Incident that is opened, raised in severity, acknowledged, closed,
    /// reopened.
    pub(crate) async fn incident_lifecycle(&self) -> Uuid {
        let id = self.finding(brute_force("SecOps", Severity::Medium)).await;
        let worse = self.finding(brute_force("DevOps", Severity::High)).await;
        assert_eq!(id, worse, "one incident");
        self.decide(id, Status::Acknowledged).await;
        self.decide(id, Status::Closed).await;
        let back = self
            .finding(brute_force("SecOps", Severity::Critical))
            .await;
        assert_eq!(id, back);
        id
    }

    pub(crate) fn sink(&self, name: &str) -> Delivery {
        let rows = self.board.list();
        rows.into_iter().find(|row| row.name == name).unwrap()
    }

    pub(crate) async fn until(&self, what: &str, mut good: impl FnMut(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !good(self) {
            let now = tokio::time::Instant::now();
            assert!(
                now < deadline,
                "{what} did not happen: {:?}",
                self.board.list()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a sink has no pending events.
    pub(crate) async fn caught_up(&self, name: &str) {
        let last = self.bus.read_for_sink(Readers::last_happened);
        let last = last.await.unwrap();
        self.until("all is told", |harness| harness.sink(name).told >= last)
            .await;
    }
}

impl Drop for SinkHarness {
    fn drop(&mut self) {
        if let Some((shutdown, running)) = self.running.take() {
            shutdown.cancel();
            running.abort();
        }
        // The folder must not be removed while it is written to; the thread
        // ends with the last clone of the record.
        drop(self.writer.take());
    }
}

/// Finding with every character that could end a field, a line, a message or a
/// template.
pub(crate) fn brute_force(agent: &str, severity: Severity) -> Finding {
    let quote = "Failed password for root from 203.0.113.45 port 51502 ssh2 | a=b \\ \"c\" ]";
    let mut finding = finding(agent, severity, quote);
    finding.detail =
        "Six failures in a minute: <!channel> @everyone [x](http://evil) *b* ünï\nEnd=1|2\\"
            .to_owned();
    finding.mitre = ["T1110", "T1110.001", "TA0006", "nonsense"]
        .map(str::to_owned)
        .to_vec();
    finding
}

/// Finding that is similar to no other.
pub(crate) fn numbered(number: usize) -> Finding {
    let address = format!("198.51.{}.{}", number / 250, number % 250);
    finding(
        "SecOps",
        Severity::High,
        &format!("Failed password for user{number} from {address}"),
    )
}

fn finding(agent: &str, severity: Severity, quote: &str) -> Finding {
    let observation = Observation {
        severity,
        confidence: 0.9,
        category: Category::Intrusion,
        title: format!("Brute force, seen by {agent} as {severity} | CVE-2024-3094 = bad \\ end"),
        detail: "Guessing.".to_owned(),
        evidence: vec![Evidence {
            quote: quote.to_owned(),
            bounds: Some([10, 20, 30, 40]),
            grounded: Some(true),
        }],
        mitre: vec!["T1110".to_owned()],
        recommended_action: "Block the address.".to_owned(),
    };
    let frame = FrameRef {
        seq: 7,
        pts_ms: 12_300,
        sha256: "ab".repeat(32),
    };
    let model = ModelRef {
        provider: "gemini".to_owned(),
        name: "gemini-3.8-flash".to_owned(),
        version: "gemini-3.8-flash-001".to_owned(),
        prompt: String::new(),
    };
    let stream = StreamName::new("team").unwrap();
    Finding::new(agent, stream, Timestamp::now(), frame, observation, model)
}

/// JSON output of a Python script for this input.
pub(crate) async fn python(script: &str, input: &[u8]) -> Value {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    assert!(
        packages.join("ocsf_json_schema").exists(),
        "the Python packages are not in {}: scripts/setup.sh --tests installs them",
        packages.display()
    );
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/judges/sinks")
        .join(script);
    let mut child = tokio::process::Command::new("python3")
        .arg(script)
        .env("PYTHONPATH", packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 is there");
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feed = tokio::spawn(async move { pipe.write_all(&input).await });
    let output = child.wait_with_output().await.unwrap();
    feed.await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}
