//! Recorded model responses, replayed without the model, so that prompts and
//! logic are compared without a key.
//!
//! A cassette is a file of JSON lines, one per response: agent, time in the
//! stream, SHA-256 of the request, and the response.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use watchtower_base::sync::Locked as _;
use watchtower_domain::cost::TokenUsage;
use watchtower_domain::finding::{ModelRef, Observation};
use watchtower_screen::redact::RedactedFrame;

use crate::model::{
    Failure, FollowUp, FrameObservation, FramePolicy, Model, ObserveQuestion, ObserveReply,
    Prepared, Question, Reply,
};

/// Largest distance of a recorded response from the time of the request, in
/// milliseconds, where the same request was not recorded.
const NEAR: i64 = 5000;

#[derive(Debug, thiserror::Error)]
pub enum CassetteError {
    #[error("failed to open the cassette {}: {source}", file.display())]
    Open { file: PathBuf, source: io::Error },
    #[error("line {line} of the cassette {} is not an answer: {reason}", file.display())]
    Line {
        file: PathBuf,
        line: usize,
        reason: String,
    },
}

/// Recorded response.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedAnswer {
    agent: String,
    pts_ms: i64,
    /// SHA-256 of the request and its picture, in hex.
    asked: String,
    model: ModelRef,
    prompt_tokens: u64,
    output_tokens: u64,
    observations: Vec<Observation>,
    /// Reason of a failed request, which has no observations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// Recorder of a model's responses.
#[derive(Debug)]
pub struct Recording {
    inner: Arc<dyn Model>,
    tape: Arc<RecordingFile>,
}

/// The file of a recording; all agents share it.
#[derive(Debug)]
pub struct RecordingFile(Mutex<File>);

impl RecordingFile {
    /// Creates the file, or truncates it.
    pub fn create(file: &Path) -> Result<Self, CassetteError> {
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(file);
        let opened = opened.map_err(|source| CassetteError::Open {
            file: file.to_owned(),
            source,
        })?;
        Ok(Self(Mutex::new(opened)))
    }

    fn write(&self, track: &RecordedAnswer) {
        let mut file = self.0.locked();
        let written = serde_json::to_string(track)
            .map_err(io::Error::other)
            .and_then(|line| writeln!(file, "{line}"));
        if let Err(error) = written {
            tracing::error!(%error, "failed to record a model response");
        }
    }
}

impl Recording {
    pub fn new(inner: Arc<dyn Model>, tape: Arc<RecordingFile>) -> Self {
        Self { inner, tape }
    }
}

impl Model for Recording {
    fn identity(&self) -> ModelRef {
        self.inner.identity()
    }

    fn frame_policy(&self) -> FramePolicy {
        self.inner.frame_policy()
    }

    fn prepare(&self, question: Question) -> Prepared {
        // The request is recorded, whether it is sent to the model or not.
        self.inner.prepare(question).prompted()
    }

    fn ask(&self, prepared: Prepared) -> BoxFuture<'_, Result<Reply, Failure>> {
        Box::pin(async move {
            let asked = prepared.clone();
            let Question::Observe(question) = asked.question() else {
                return Err(asked.question().unsupported());
            };
            let reply = self.inner.ask(prepared).await.and_then(Reply::observed);
            if let (Some(frame), Ok(sum)) = (question.frames.last(), sum_of(&asked)) {
                let track = track(question, frame, sum, &reply, self.identity());
                self.tape.write(&track);
            }
            reply.map(Reply::Observe)
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, Failure>> {
        self.inner.probe()
    }
}

fn track(
    question: &ObserveQuestion,
    frame: &RedactedFrame,
    asked: String,
    reply: &Result<ObserveReply, Failure>,
    model: ModelRef,
) -> RecordedAnswer {
    let mut track = RecordedAnswer {
        agent: question.persona.name.clone(),
        pts_ms: frame.pts.ms(),
        asked,
        model,
        prompt_tokens: 0,
        output_tokens: 0,
        observations: Vec::new(),
        failure: None,
    };
    match reply {
        Ok(reply) => {
            track.model = reply.model.clone();
            track.prompt_tokens = reply.usage.prompt_tokens;
            track.output_tokens = reply.usage.output_tokens;
            let seen = reply.seen.iter().map(|seen| seen.observation.clone());
            track.observations = seen.collect();
        }
        Err(failure) => track.failure = Some(failure.to_string()),
    }
    track
}

/// Key of a question: SHA-256 of everything sent to the model, in hex. Fails
/// without a picture.
fn sum_of(asked: &Prepared) -> Result<String, Failure> {
    let request = asked.request()?;
    let mut sum = Sha256::new();
    sum.update(&request.system);
    sum.update(&request.text);
    if let Some((frame, _)) = &request.picture
        && let Ok(still) = frame.still()
    {
        sum.update(still.sha256());
    }
    Ok(hex::encode(sum.finalize()))
}

/// Model that replays a cassette.
#[derive(Debug, Clone)]
pub struct Cassette {
    /// Responses by agent, in the order of recording.
    tracks: Arc<HashMap<String, Vec<RecordedAnswer>>>,
    /// First recorded model.
    model: ModelRef,
}

impl Cassette {
    pub fn open(file: &Path) -> Result<Self, CassetteError> {
        let text = std::fs::read_to_string(file).map_err(|source| CassetteError::Open {
            file: file.to_owned(),
            source,
        })?;
        let mut tracks: HashMap<String, Vec<RecordedAnswer>> = HashMap::new();
        let mut model = None;
        for (index, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let track: RecordedAnswer =
                serde_json::from_str(line).map_err(|error| CassetteError::Line {
                    file: file.to_owned(),
                    line: index + 1,
                    reason: error.to_string(),
                })?;
            model.get_or_insert_with(|| track.model.clone());
            tracks.entry(track.agent.clone()).or_default().push(track);
        }
        let nobody = || ModelRef {
            provider: "cassette".to_owned(),
            name: "empty".to_owned(),
            version: String::new(),
            prompt: String::new(),
        };
        Ok(Self {
            tracks: Arc::new(tracks),
            model: model.unwrap_or_else(nobody),
        })
    }

    /// Same cassette, as the model recorded for that agent.
    pub fn of_agent(&self, agent: &str) -> Self {
        let first = self.tracks.get(agent).and_then(|tracks| tracks.first());
        Self {
            tracks: Arc::clone(&self.tracks),
            model: first.map_or_else(|| self.model.clone(), |track| track.model.clone()),
        }
    }

    /// Response to the same request, or the nearest in time.
    fn reply(&self, prepared: &Prepared) -> Result<Reply, Failure> {
        let Question::Observe(question) = prepared.question() else {
            return Err(prepared.question().unsupported());
        };
        let nothing = || Failure::no_answer("nothing was asked");
        let frame = question.frames.last().ok_or_else(nothing)?;
        let tracks = self
            .tracks
            .get(&question.persona.name)
            .map_or(&[][..], Vec::as_slice);
        let asked = sum_of(prepared)?;
        let at = frame.pts.ms();
        let track = tracks
            .iter()
            .find(|track| track.asked == asked)
            .or_else(|| {
                let near = tracks
                    .iter()
                    .filter(|track| track.pts_ms.abs_diff(at) <= NEAR.unsigned_abs());
                near.min_by_key(|track| track.pts_ms.abs_diff(at))
            });
        let Some(track) = track else {
            return Err(Failure::no_answer("this is not on the cassette"));
        };
        if let Some(failure) = &track.failure {
            return Err(Failure::no_answer(failure.as_str()));
        }
        let seen = track
            .observations
            .iter()
            .map(|observation| FrameObservation {
                frame: frame.clone(),
                observation: observation.clone(),
            });
        Ok(Reply::Observe(ObserveReply {
            seen: seen.collect(),
            dropped: 0,
            follow_up: FollowUp::default(),
            usage: TokenUsage {
                prompt_tokens: track.prompt_tokens,
                estimated_tokens: prepared.request()?.estimated_tokens(),
                cached_tokens: 0,
                output_tokens: track.output_tokens,
            },
            model: track.model.clone(),
            exchange: None,
        }))
    }
}

impl Model for Cassette {
    fn identity(&self) -> ModelRef {
        self.model.clone()
    }

    /// As it was recorded: rules were asked about every reading.
    fn frame_policy(&self) -> FramePolicy {
        match self.model.provider.as_str() {
            "offline" => FramePolicy::EveryRead,
            _ => FramePolicy::Newest,
        }
    }

    fn prepare(&self, question: Question) -> Prepared {
        Prepared::new(question).prompted()
    }

    fn ask(&self, prepared: Prepared) -> BoxFuture<'_, Result<Reply, Failure>> {
        Box::pin(std::future::ready(self.reply(&prepared)))
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, Failure>> {
        let answers: usize = self.tracks.values().map(Vec::len).sum();
        Box::pin(std::future::ready(Ok(format!("{answers} answers on tape"))))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{Memory, Persona, ScreenChanges};
    use watchtower_base::stream_name::StreamName;
    use watchtower_domain::finding::{Category, Severity};
    use watchtower_media::MediaTime;
    use watchtower_screen::frame::Frame;
    use watchtower_screen::picture::Picture;
    use watchtower_screen::redact::Redact;

    #[derive(Debug)]
    struct Says(&'static str);

    impl Model for Says {
        fn identity(&self) -> ModelRef {
            ModelRef {
                provider: "test".to_owned(),
                name: "says".to_owned(),
                version: "1".to_owned(),
                prompt: String::new(),
            }
        }

        fn frame_policy(&self) -> FramePolicy {
            FramePolicy::Newest
        }

        fn ask(&self, prepared: Prepared) -> BoxFuture<'_, Result<Reply, Failure>> {
            let Question::Observe(question) = prepared.question() else {
                panic!("asked for no observation: {prepared:?}");
            };
            let observation = Observation {
                severity: Severity::High,
                confidence: 0.5,
                category: Category::Other,
                title: self.0.to_owned(),
                detail: String::new(),
                evidence: vec![],
                mitre: vec![],
                recommended_action: String::new(),
            };
            let reply = ObserveReply {
                seen: vec![FrameObservation {
                    frame: question.frames[0].clone(),
                    observation,
                }],
                dropped: 0,
                follow_up: FollowUp::default(),
                usage: TokenUsage::default(),
                model: self.identity(),
                exchange: None,
            };
            Box::pin(std::future::ready(Ok(Reply::Observe(reply))))
        }

        fn probe(&self) -> BoxFuture<'_, Result<String, Failure>> {
            Box::pin(std::future::ready(Ok(String::new())))
        }
    }

    fn question(agent: &str, ms: i64) -> ObserveQuestion {
        let picture = Picture {
            width: 2,
            height: 2,
            y: vec![0; 4],
            u: vec![0],
            v: vec![0],
        };
        let frame = Frame::new(
            StreamName::new("team").unwrap(),
            1,
            MediaTime::from_ms(ms),
            jiff::Timestamp::UNIX_EPOCH,
            Arc::new(picture),
            |_| Ok(Bytes::from_static(b"jpeg")),
        );
        let persona = Persona {
            name: agent.to_owned(),
            personality: "p".to_owned(),
            focus: "f".to_owned(),
            ..Persona::default()
        };
        ObserveQuestion {
            persona: Arc::new(persona),
            frames: vec![RedactedFrame::of(&Arc::new(frame), Redact::Off).unwrap()],
            news: ScreenChanges::default(),
            memory: Memory::default(),
            audio: None,
        }
    }

    async fn observe(
        model: &dyn Model,
        question: ObserveQuestion,
    ) -> Result<ObserveReply, Failure> {
        let prepared = model.prepare(question.into());
        model.ask(prepared).await?.observed()
    }

    #[tokio::test]
    async fn cassette_replays_the_same_or_nearest_request() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tape.jsonl");
        let tape = Arc::new(RecordingFile::create(&file).unwrap());
        let recording = Recording::new(Arc::new(Says("first")), Arc::clone(&tape));
        observe(&recording, question("SecOps", 1000)).await.unwrap();
        let recording = Recording::new(Arc::new(Says("second")), tape);
        observe(&recording, question("SecOps", 9000)).await.unwrap();

        let cassette = Cassette::open(&file).unwrap();
        assert_eq!(cassette.identity().name, "says");
        let near = observe(&cassette, question("SecOps", 7000)).await;
        let near = near.unwrap();
        assert_eq!(
            near.seen[0].observation.title, "first",
            "the very question, whenever asked"
        );
        let mut other = question("SecOps", 8000);
        other.news.appeared.push("a line".to_owned());
        let near = observe(&cassette, other).await.unwrap();
        assert_eq!(near.seen[0].observation.title, "second", "the nearest");
        let mut late = question("SecOps", 60_000);
        late.news.appeared.push("a line".to_owned());
        assert!(observe(&cassette, late).await.is_err());
        let other = question("DevOps", 1000);
        assert!(observe(&cassette, other).await.is_err());
    }

    #[test]
    fn broken_cassette_names_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tape.jsonl");
        std::fs::write(&file, "\n{\"agent\": 7}\n").unwrap();
        let error = Cassette::open(&file).unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("tape.jsonl"),
            "{error}"
        );
    }
}
