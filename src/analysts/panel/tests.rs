use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use watchtower_base::stream_name::StreamName;
use watchtower_domain::agent_status::{AgentBoard, AgentStatus};
use watchtower_domain::cost::TokenUsage;
use watchtower_domain::finding::{Category, Evidence, FrameRef, ModelRef, Observation};
use watchtower_media::MediaTime;
use watchtower_models::language::AnswerLanguage;
use watchtower_models::model::{
    Failure, FramePolicy, Model, Persona, Prepared, Question, Reply, Review, ReviewKind,
    ReviewQuestion, ReviewReply,
};
use watchtower_record::Record;
use watchtower_record::settings::StoreSettings;
use watchtower_record::store::Publication;
use watchtower_screen::frames::{FrameBus, FramePublisher};
use watchtower_screen::picture::Picture;
use watchtower_screen::redact::{OwnPatterns, Redact};

use super::*;
use crate::budget::settings::Limits;
use crate::budget::{Budget, Prices};
use crate::settings::{AgentConfig, Panel, Priority};
use crate::{AgentSpec, ChainLink, ModelChain, Policy};

/// Model that confirms each report, after a number of failures.
#[derive(Debug, Default)]
struct ConfirmingModel {
    failures: Mutex<u32>,
    /// Duration of an answer.
    takes: Duration,
    /// Titles and severities of the reports it gave an opinion on.
    opinions: Mutex<Vec<(String, Severity)>>,
    verdicts: Mutex<u32>,
}

impl ConfirmingModel {
    fn opinions(&self) -> Vec<(String, Severity)> {
        self.opinions.lock().unwrap().clone()
    }

    fn say(&self, question: &ReviewQuestion) -> Result<ReviewReply, Failure> {
        match question.kind {
            ReviewKind::Opinion => {
                let put = (question.report.title.clone(), question.report.severity);
                self.opinions.lock().unwrap().push(put);
                let mut failures = self.failures.lock().unwrap();
                if *failures > 0 {
                    *failures -= 1;
                    return Err(Failure::Transient {
                        reason: "server error (503)".to_owned(),
                    });
                }
            }
            ReviewKind::Verdict => *self.verdicts.lock().unwrap() += 1,
        }
        Ok(ReviewReply {
            review: Review {
                stance: Stance::Confirm,
                observation: observation("", "", Severity::High),
            },
            usage: TokenUsage::default(),
            model: self.identity(),
            exchange: None,
        })
    }
}

impl Model for ConfirmingModel {
    fn identity(&self) -> ModelRef {
        ModelRef {
            provider: "test".to_owned(),
            name: "peer".to_owned(),
            version: String::new(),
            prompt: String::new(),
        }
    }

    fn frame_policy(&self) -> FramePolicy {
        FramePolicy::Newest
    }

    fn ask(&self, prepared: Prepared) -> BoxFuture<'_, Result<Reply, Failure>> {
        Box::pin(async move {
            let Question::Review(question) = prepared.question() else {
                return std::future::pending().await;
            };
            tokio::time::sleep(self.takes).await;
            self.say(question).map(Reply::Review)
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(async { Ok("fine".to_owned()) })
    }
}

fn observation(title: &str, quote: &str, severity: Severity) -> Observation {
    Observation {
        severity,
        confidence: 0.9,
        category: Category::Intrusion,
        title: title.to_owned(),
        detail: String::new(),
        evidence: vec![Evidence {
            quote: quote.to_owned(),
            bounds: None,
            grounded: None,
        }],
        mitre: vec![],
        recommended_action: String::new(),
    }
}

struct PanelHarness {
    context: AgentContext,
    peer: Arc<ConfirmingModel>,
    table: PanelQueue,
    stream: StreamName,
    frame: Arc<Frame>,
    _publisher: FramePublisher,
    _staff: watch::Sender<AgentSet>,
    _folder: tempfile::TempDir,
}

fn member(name: &str, peer: &Arc<ConfirmingModel>) -> AgentSpec {
    let persona = Persona {
        name: name.to_owned(),
        ..Persona::default()
    };
    let link = ChainLink {
        model: Arc::clone(peer) as Arc<dyn Model>,
        governor: None,
        policy: Policy {
            redact: Redact::Off,
            own: OwnPatterns::default(),
            redact_evidence: Redact::Off,
            ungrounded: Severity::Medium,
        },
        hears: false,
    };
    AgentSpec {
        config: AgentConfig::new(Arc::new(persona)),
        chain: ModelChain::new(link, Vec::new(), Priority::Normal),
    }
}

/// SecOps reports, DevOps is asked.
fn harness(peer: ConfirmingModel) -> PanelHarness {
    let folder = tempfile::tempdir().unwrap();
    let names = ["SecOps", "DevOps", WATCHTOWER].map(str::to_owned);
    let data = folder.path().join("data");
    let (findings, _) =
        Record::open(&data, folder.path(), &names, &StoreSettings::default()).unwrap();
    let context = AgentContext {
        frames: FrameBus::new(),
        findings,
        board: AgentBoard::new(
            names
                .iter()
                .map(|name| AgentStatus::new(name, "test", ""))
                .collect(),
        ),
        metrics: Arc::default(),
        budget: Budget::new(Limits::default(), Prices::load(None).unwrap()),
        audio: watchtower_media::audio_bus::AudioBus::default(),
    };
    let peer = Arc::new(peer);
    let panel = Panel::parse("[panel]\nseverity = \"medium\"\nper_hour = 100", "").unwrap();
    let agents = AgentSet {
        members: Arc::from(["SecOps", "DevOps"].map(|name| member(name, &peer))),
        panel: panel.exchange,
        ask_service: None,
        ask_language: AnswerLanguage::default(),
        watches: Arc::default(),
    };
    let (keep, agents) = watch::channel(agents);
    let (table, waiting) = PanelQueue::new(agents.clone());
    tokio::spawn(PanelRunner::new(waiting, agents, context.clone()).run());
    let stream = StreamName::new("team").unwrap();
    let mut publisher = context
        .frames
        .open(&stream, |_| Ok(Bytes::from_static(b"jpeg")));
    let picture = Picture {
        width: 64,
        height: 64,
        y: vec![9; 64 * 64],
        u: vec![128; 32 * 32],
        v: vec![128; 32 * 32],
    };
    let frame = publisher.publish(picture, MediaTime(0), Timestamp::UNIX_EPOCH);
    PanelHarness {
        context,
        peer,
        table,
        stream,
        frame,
        _publisher: publisher,
        _staff: keep,
        _folder: folder,
    }
}

impl PanelHarness {
    /// Reports a brute force from that address; returns the incident.
    async fn report(&self, address: u8, severity: Severity) -> Uuid {
        let quote = format!("Failed password for admin from 192.0.2.{address} port 22 ssh2");
        let observation = observation(&format!("From {address}"), &quote, severity);
        let at = FrameRef {
            seq: 1,
            pts_ms: 0,
            sha256: String::new(),
        };
        let (now, model) = (Timestamp::UNIX_EPOCH, self.peer.identity());
        let publication = Publication {
            finding: Finding::new("SecOps", self.stream.clone(), now, at, observation, model),
            still: None,
            asked: None,
        };
        let finding = frozen(self.context.findings.publish(publication)).await;
        let finding = finding.unwrap();
        let incident = finding.incident.unwrap();
        self.table.report(&self.context, finding, &self.frame);
        incident
    }

    /// Waits until the incident meets the condition, and returns it.
    async fn until(&self, id: Uuid, like: impl Fn(&Incident) -> bool) -> Incident {
        loop {
            let detail = self.context.findings.read(move |store| store.incident(id));
            let detail = frozen(detail).await.unwrap();
            let incident = detail.unwrap().incident;
            if like(&incident) {
                return incident;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn settled(&self, id: Uuid) -> Incident {
        self.until(id, |incident| incident.verdict.is_some()).await
    }
}

/// Runs `work` while a thread blocks, so that the paused clock does not advance
/// while the store's thread works.
async fn frozen<T>(work: impl Future<Output = T>) -> T {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let blocks = tokio::task::spawn_blocking(move || held.recv().is_err());
    let done = work.await;
    drop(release);
    assert!(blocks.await.unwrap());
    done
}

/// Advances two hours, in steps that let other tasks run.
async fn two_hours() {
    for _ in 0..24 {
        tokio::time::sleep(Duration::from_secs(300)).await;
        let breath = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(2)));
        breath.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_opinion_is_asked_for_again_later() {
    let harness = harness(ConfirmingModel {
        failures: Mutex::new(2),
        ..ConfirmingModel::default()
    });
    let began = Instant::now();
    let id = harness.report(1, Severity::High).await;
    let failed = harness
        .until(id, |incident| !incident.opinions.is_empty())
        .await;
    assert!(failed.opinions[0].failed && failed.opinions[0].stance == Stance::NoView);
    assert_eq!(harness.peer.opinions().len(), 1, "not at once");
    let incident = harness.settled(id).await;
    // Retried after five minutes, and after ten more.
    let waited = began.elapsed();
    assert!(waited >= AGAIN * 3, "{waited:?}");
    assert_eq!(incident.opinions.len(), 1, "in the place of the failed one");
    assert_eq!(incident.opinions[0].stance, Stance::Confirm);
    assert!(!incident.opinions[0].failed);
    // Settled, however often it is repeated.
    harness.report(1, Severity::High).await;
    two_hours().await;
    assert_eq!(harness.peer.opinions().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_rise_in_severity_is_weighed_again() {
    let harness = harness(ConfirmingModel::default());
    let id = harness.report(1, Severity::Medium).await;
    let first = harness.settled(id).await.verdict.unwrap();
    let bad = [
        Severity::Medium,
        Severity::Low,
        Severity::High,
        Severity::Medium,
    ];
    for severity in bad {
        assert_eq!(harness.report(1, severity).await, id);
    }
    let again = |incident: &Incident| incident.verdict.as_ref().is_some_and(|v| v.at != first.at);
    let incident = harness.until(id, again).await;
    two_hours().await;
    let put = [Severity::Medium, Severity::High];
    assert_eq!(
        harness.peer.opinions(),
        put.map(|bad| ("From 1".to_owned(), bad))
    );
    let reported: Vec<_> = incident.opinions.iter().map(|one| one.reported).collect();
    assert_eq!(reported, put.map(Some));
    assert_eq!(*harness.peer.verdicts.lock().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn repeats_of_one_incident_leave_room_for_others() {
    let harness = harness(ConfirmingModel {
        takes: Duration::from_secs(30),
        ..ConfirmingModel::default()
    });
    harness.report(1, Severity::High).await;
    for _ in 0..2 * WAITING {
        harness.report(1, Severity::High).await;
        harness.report(2, Severity::High).await;
    }
    let mut last = Uuid::nil();
    for address in 3..2 + WAITING as u8 {
        last = harness.report(address, Severity::High).await;
    }
    harness.settled(last).await;
    let asked = harness.peer.opinions().into_iter().map(|(title, _)| title);
    let wanted = (1..2 + WAITING as u8).map(|address| format!("From {address}"));
    assert!(
        asked.eq(wanted),
        "each once, in order: {:?}",
        harness.peer.opinions()
    );
}
