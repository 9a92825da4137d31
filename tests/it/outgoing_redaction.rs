//! Redaction of everything sent to a hosted model, by its policy: the screen,
//! an analyst's memory, another analyst's report, a question.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use crate::common::gemini::{CannedReply, FakeGemini};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use watchtower::analysts;
use watchtower::analysts::budget::settings::Limits;
use watchtower::analysts::budget::{Budget, Prices};
use watchtower::analysts::settings::{AgentConfig, Panel, Priority};
use watchtower::analysts::{
    AgentContext, AgentSet, AgentSpec, AskService, ChainLink, Governor, GovernorSettings,
    ModelChain, Policy,
};
use watchtower::base::secret::Secret;
use watchtower::base::stream_name::StreamName;
use watchtower::domain::agent_status::{AgentBoard, AgentStatus};
use watchtower::domain::finding::{
    Category, Evidence, Finding, FrameRef, ModelRef, Observation, Severity,
};
use watchtower::media::MediaTime;
use watchtower::media::audio_bus::AudioBus;
use watchtower::models::gemini::{Gemini, GeminiSettings};
use watchtower::models::language::AnswerLanguage;
use watchtower::models::model::{Model, Persona, QuestionAnswerer as _};
use watchtower::models::offline::{Offline, Rules};
use watchtower::record::Record;
use watchtower::record::settings::StoreSettings;
use watchtower::record::store::Publication;
use watchtower::screen::frame::Frame;
use watchtower::screen::frames::FrameBus;
use watchtower::screen::picture::{Picture, Rect, TextLine};
use watchtower::screen::redact::{OwnPatterns, Redact, secrets_on};

const PERSONAL: &str = "jane.doe@corp.example";
const OWN: &str = "CUST-482913";

fn persona(name: &str, indicators: &[&str]) -> Arc<Persona> {
    Arc::new(Persona {
        name: name.to_owned(),
        personality: "wary".to_owned(),
        focus: "threats".to_owned(),
        indicators: indicators.iter().map(|text| (*text).to_owned()).collect(),
        ..Persona::default()
    })
}

fn member(persona: Arc<Persona>, link: ChainLink) -> AgentSpec {
    AgentSpec {
        config: AgentConfig {
            interval: Duration::from_secs(1),
            ..AgentConfig::new(persona)
        },
        chain: ModelChain::new(link, Vec::new(), Priority::Normal),
    }
}

fn policy(redact: Redact, own: &OwnPatterns) -> Policy {
    Policy {
        redact,
        own: own.clone(),
        redact_evidence: Redact::SecretsAndPersonal,
        ungrounded: Severity::Medium,
    }
}

fn hosted(gemini: &FakeGemini, own: &OwnPatterns) -> ChainLink {
    let settings = GeminiSettings {
        base_url: Some(gemini.base_url()),
        ..GeminiSettings::new(Secret::new("AIzaFakeKeyOfTheTests0123456789abcdefgh").unwrap())
    };
    ChainLink {
        model: Arc::new(Gemini::new(settings).unwrap()),
        governor: Some(Arc::new(Governor::new(GovernorSettings::default()))),
        policy: policy(Redact::SecretsAndPersonal, own),
        hears: false,
    }
}

fn grey() -> Picture {
    Picture {
        width: 800,
        height: 400,
        y: vec![200; 800 * 400],
        u: vec![128; 400 * 200],
        v: vec![128; 400 * 200],
    }
}

/// Frame with its OCR text, redacted by the known kinds only.
fn read(frame: &Frame) -> Frame {
    let texts = [
        format!("Case of {OWN} opened by {PERSONAL}"),
        "All systems operational".to_owned(),
    ];
    let line = |(row, text): (u32, String)| TextLine {
        rect: Rect {
            x: 20,
            y: 40 * (row + 1),
            width: 10 * text.len() as u32,
            height: 20,
        },
        text,
        confidence: 1.0,
    };
    let lines: Arc<[TextLine]> = (0..).zip(texts).map(line).collect();
    let size = (frame.picture.width, frame.picture.height);
    let secrets = secrets_on(&lines, &OwnPatterns::default(), size);
    frame.read(lines, secrets.into())
}

/// Reported by the analyst itself, with its rules on this machine.
fn earlier(stream: &StreamName) -> Publication {
    let model = ModelRef {
        provider: "offline".to_owned(),
        name: "rules".to_owned(),
        version: String::new(),
        prompt: String::new(),
    };
    let frame = FrameRef {
        seq: 1,
        pts_ms: 0,
        sha256: String::new(),
    };
    let observation = Observation {
        severity: Severity::Info,
        confidence: 0.8,
        category: Category::Other,
        title: format!("Seen before: {PERSONAL}"),
        detail: String::new(),
        evidence: vec![Evidence {
            quote: format!("{OWN} by {PERSONAL}"),
            bounds: None,
            grounded: None,
        }],
        mitre: vec![],
        recommended_action: String::new(),
    };
    let now = Timestamp::now();
    Publication {
        finding: Finding::new("DevOps", stream.clone(), now, frame, observation, model),
        still: None,
        asked: None,
    }
}

#[tokio::test]
async fn requests_are_redacted_by_the_policy_of_their_model() {
    let gemini = FakeGemini::start().await;
    gemini.script_case(
        "DevOps",
        [CannedReply::view(
            "confirm",
            "low",
            "It is so.",
            "All systems",
        )],
    );
    gemini.otherwise(CannedReply::nothing());
    let own = OwnPatterns::new(&["CUST-[0-9]{6}".to_owned()]).unwrap();
    let rules = Arc::new(Rules::load(&[]).unwrap());
    let first = persona("SecOps", &[PERSONAL, OWN]);
    let offline = ChainLink {
        model: Arc::new(Offline::new(rules, &first)) as Arc<dyn Model>,
        governor: None,
        // Rules analyse on this machine.
        policy: policy(Redact::Off, &own),
        hears: false,
    };
    let folder = tempfile::tempdir().unwrap();
    let names = ["SecOps", "DevOps", "Watchtower"].map(str::to_owned);
    let data = folder.path().join("data");
    let (findings, _writer) =
        Record::open(&data, folder.path(), &names, &StoreSettings::default()).unwrap();
    let stream = StreamName::new("team").unwrap();
    findings.publish(earlier(&stream)).await.unwrap();
    let statuses = names.iter().map(|name| AgentStatus::new(name, "test", "m"));
    let meeting = AgentContext {
        frames: FrameBus::new(),
        findings,
        board: AgentBoard::new(statuses.collect()),
        metrics: Arc::default(),
        budget: Budget::new(Limits::default(), Prices::load(None).unwrap()),
        audio: AudioBus::default(),
    };
    let second = persona("DevOps", &[]);
    let staff = AgentSet {
        members: Arc::from([
            member(first, offline),
            member(second, hosted(&gemini, &own)),
        ]),
        panel: Panel::parse("[panel]\nseverity = \"low\"", "")
            .unwrap()
            .exchange,
        ask_service: Some(ModelChain::new(
            hosted(&gemini, &own),
            Vec::new(),
            Priority::Normal,
        )),
        ask_language: AnswerLanguage::default(),
        watches: Arc::default(),
    };
    let (_keep, staff) = watch::channel(staff);
    let shutdown = CancellationToken::new();
    let panel = tokio::spawn(analysts::run(
        staff.clone(),
        meeting.clone(),
        shutdown.clone(),
    ));
    meeting.frames.expect_reading();
    let mut publisher = meeting
        .frames
        .open(&stream, |_| Ok(Bytes::from_static(b"\xff\xd8jpeg\xff\xd9")));
    let frame = publisher.publish(grey(), MediaTime(0), Timestamp::now());
    meeting.frames.publish_read(Arc::new(read(&frame)));

    // Analysed, and submitted to the panel.
    let until_requested = async {
        loop {
            let requests = gemini.requests();
            let looks = requests.iter().filter(|request| !request.is_case()).count();
            if looks > 0 && requests.len() > looks {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), until_requested)
        .await
        .expect("a look and a case");
    // A user's question with the stored findings. Its answer does not matter.
    let ask_service = AskService::new(staff, meeting.clone());
    let record = vec![format!("on the screen: {PERSONAL} with {OWN}")];
    let _ = ask_service.put(format!("Who is {OWN}?"), record).await;
    shutdown.cancel();
    panel.await.unwrap();

    let requests = gemini.requests();
    let look = requests.iter().find(|request| {
        let text = request.text();
        text.contains("what you reported earlier")
    });
    let look = look.expect("a look with a memory").text();
    assert!(look.contains("Seen before: [masked"), "{look}");
    assert!(look.contains("Case of [masked"), "{look}");
    let case = requests.iter().find(|request| request.is_case()).unwrap();
    assert!(
        case.text().contains("Indicator on screen: [masked"),
        "{}",
        case.text()
    );
    let question = requests.iter().find(|r| r.text().contains("Who is "));
    let question = question.expect("the question").text();
    assert!(question.contains("Who is [masked"), "{question}");
    for request in &requests {
        let sent = request.body.to_string();
        assert!(!sent.contains(PERSONAL), "{sent}");
        assert!(!sent.contains(OWN), "{sent}");
    }
}
