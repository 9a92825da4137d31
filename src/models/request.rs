//! Request to a hosted model, independent of its wire format, and the response.

use std::sync::Arc;

use serde_json::Value;

use watchtower_domain::cost::TokenUsage;
use watchtower_domain::finding::ModelRef;
use watchtower_domain::transcript::RawExchange;
use watchtower_media::audio_bus::AudioClip;
use watchtower_screen::picture::Rect;
use watchtower_screen::redact::RedactedFrame;

use crate::images::{ImageSet, blocking};
use crate::model::{CostBound, Failure, Fatal, Meter, ObserveReply, Question, Reply, ReviewReply};
use crate::{answer, ask_prompt, panel_prompt, prompt};

/// Prepared question: the content of its requests, built once, and the meter
/// that counts them.
#[derive(Debug, Clone)]
pub struct Prepared {
    question: Question,
    /// Content; `None` for a model without prompts.
    request: Option<Arc<ModelRequest>>,
    meter: Meter,
}

impl Prepared {
    /// Prepares a question without a prompt, and without a limit on its
    /// requests.
    pub fn new(question: Question) -> Self {
        Self {
            question,
            request: None,
            meter: Meter::default(),
        }
    }

    /// Adds the prompt, unless it was built before.
    pub(super) fn prompted(mut self) -> Self {
        if self.request.is_none() {
            // A prompt that can't be built fails when it is requested.
            self.request = ModelRequest::of(&self.question).ok().map(Arc::new);
        }
        self
    }

    /// Sets the meter that counts and limits its requests.
    pub fn metered(self, meter: Meter) -> Self {
        Self { meter, ..self }
    }

    pub fn question(&self) -> &Question {
        &self.question
    }

    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Worst-case cost of one request by `bound`; zero where none can be sent.
    pub(super) fn cost_bound(&self, bound: impl FnOnce(&ModelRequest) -> CostBound) -> CostBound {
        let request = self.request();
        request.map_or_else(|_| CostBound::default(), |request| bound(&request))
    }

    /// Content of its requests; fails without a picture.
    pub(super) fn request(&self) -> Result<Arc<ModelRequest>, Failure> {
        match &self.request {
            Some(request) => Ok(Arc::clone(request)),
            None => ModelRequest::of(&self.question).map(Arc::new),
        }
    }
}

/// Content of a request, independent of the provider.
#[derive(Debug)]
pub(super) struct ModelRequest {
    pub system: String,
    pub text: String,
    /// Picture, with the parts of it to be enlarged; `None` for a question
    /// about the record.
    pub picture: Option<(RedactedFrame, Vec<Rect>)>,
    /// Sound, for a provider that takes it.
    pub audio: Option<Arc<AudioClip>>,
    /// JSON schema of the answer.
    pub schema: &'static Value,
}

impl ModelRequest {
    fn of(question: &Question) -> Result<Self, Failure> {
        Ok(match question {
            Question::Observe(question) => {
                let frame = question.frames.last().cloned();
                let frame = frame.ok_or_else(no_picture)?;
                Self {
                    system: prompt::system_on(&question.persona, &frame.stream),
                    text: prompt::question(question, &frame),
                    picture: Some((frame, question.news.regions.clone())),
                    audio: question.audio.clone(),
                    schema: answer::schema(),
                }
            }
            Question::Review(question) => {
                let regions = panel_prompt::regions(question);
                Self {
                    system: panel_prompt::system(question),
                    text: panel_prompt::question(question),
                    picture: Some((question.frame.clone(), regions)),
                    audio: None,
                    schema: panel_prompt::schema(),
                }
            }
            Question::Ask(question) => Self {
                system: ask_prompt::system(question),
                text: ask_prompt::question(question),
                picture: None,
                audio: None,
                schema: ask_prompt::schema(),
            },
        })
    }

    /// The picture as it is sent.
    pub(super) async fn images(&self) -> Result<Arc<ImageSet>, Failure> {
        let Some((frame, regions)) = self.picture.clone() else {
            return Ok(Arc::default());
        };
        Ok(Arc::new(
            blocking(move || ImageSet::take(frame, &regions)).await?,
        ))
    }

    /// Worst-case cost of one request in tokens, with the cost of its pictures
    /// (the whole, and so many parts).
    pub(super) fn cost_bound(
        &self,
        max_output_tokens: u32,
        pictures: impl FnOnce(&RedactedFrame, usize) -> u64,
    ) -> CostBound {
        let shown = self.picture.as_ref();
        let shown = shown.map(|(frame, regions)| pictures(frame, regions.len()));
        let text = self.system.len() + self.text.len() + self.schema.to_string().len();
        CostBound {
            prompt_tokens: prompt::most_tokens(text)
                + shown.unwrap_or_default()
                + self.audio_tokens(),
            output_tokens: u64::from(max_output_tokens),
        }
    }

    /// Estimated cost on a current model, in tokens.
    pub(super) fn estimated_tokens(&self) -> u64 {
        let shown = self.picture.as_ref();
        let pictures = shown.map_or(0, |(_, regions)| {
            prompt::WHOLE_TOKENS + regions.len() as u64 * prompt::CLOSEUP_TOKENS
        });
        let text = self.system.len() + self.text.len();
        pictures + self.audio_tokens() + (text / prompt::TOKEN_BYTES) as u64
    }

    /// Cost of the sound in tokens.
    pub(super) fn audio_tokens(&self) -> u64 {
        let audio = self.audio.as_ref();
        let seconds = audio.map(|audio| audio.duration().as_secs_f64().ceil());
        seconds.map_or(0, |seconds| {
            seconds as u64 * prompt::AUDIO_TOKENS_PER_SECOND
        })
    }
}

/// Response with its request, and the frame as sent.
pub(super) struct ModelResponse {
    exchange: RawExchange,
    frame: Option<RedactedFrame>,
    usage: TokenUsage,
}

impl ModelResponse {
    pub(super) fn new(
        request: &ModelRequest,
        answer: String,
        images: &ImageSet,
        usage: TokenUsage,
    ) -> Self {
        Self {
            exchange: RawExchange {
                system: request.system.clone(),
                question: request.text.clone(),
                pictures: images.sent(),
                answer,
            },
            frame: images.whole.as_ref().map(|whole| whole.frame.clone()),
            usage,
        }
    }

    /// Parses the reply of `model` to the question.
    pub(super) fn reply(self, question: &Question, model: ModelRef) -> Result<Reply, Failure> {
        let answer = &self.exchange.answer;
        match question {
            Question::Observe(_) => {
                let frame = self.frame.ok_or_else(no_picture)?;
                let reply = answer::conclude(answer, &frame, self.usage, model)?;
                Ok(Reply::Observe(ObserveReply {
                    exchange: Some(Box::new(self.exchange)),
                    ..reply
                }))
            }
            Question::Review(question) => {
                let review = answer::review(answer, question.report.category);
                let review = review.map_err(|unusable| Failure::no_answer(unusable.to_string()))?;
                Ok(Reply::Review(ReviewReply {
                    review,
                    usage: self.usage,
                    model,
                    exchange: Some(Box::new(self.exchange)),
                }))
            }
            Question::Ask(question) => {
                ask_prompt::reply(answer, question, self.usage, model).map(Reply::Ask)
            }
        }
    }
}

fn no_picture() -> Failure {
    Failure::fatal(Fatal::Request, "no picture to analyse")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use watchtower_base::stream_name::StreamName;
    use watchtower_domain::finding::{Category, Observation, Severity};
    use watchtower_media::MediaTime;
    use watchtower_screen::frame::Frame;
    use watchtower_screen::picture::Picture;
    use watchtower_screen::redact::Redact;

    use super::*;
    use crate::language::AnswerLanguage;
    use crate::model::{
        AskQuestion, Memory, ObserveQuestion, Persona, ReviewKind, ReviewQuestion, ScreenChanges,
    };
    use crate::stream_context::{NormalState, StreamContext};

    fn ask() -> Question {
        ask_in(AnswerLanguage::default())
    }

    fn ask_in(language: AnswerLanguage) -> Question {
        Question::Ask(AskQuestion {
            question: "Did it end?".to_owned(),
            record: vec!["It ended.".to_owned()],
            now: Timestamp::UNIX_EPOCH,
            language,
        })
    }

    fn frame() -> RedactedFrame {
        let frame = Frame::new(
            StreamName::new("team").unwrap(),
            1,
            MediaTime(0),
            Timestamp::UNIX_EPOCH,
            Arc::new(Picture::grey(1, 1)),
            |_| Ok(Bytes::new()),
        );
        RedactedFrame::of(&Arc::new(frame), Redact::Off).unwrap()
    }

    fn analyst(language: AnswerLanguage) -> Persona {
        Persona {
            name: "SecOps".to_owned(),
            language,
            ..Persona::default()
        }
    }

    /// System prompts of a look, an opinion, a verdict and an answer.
    fn systems(language: &AnswerLanguage) -> [String; 4] {
        let persona = Arc::new(analyst(language.clone()));
        let look = ObserveQuestion {
            persona: Arc::clone(&persona),
            frames: vec![frame()],
            news: ScreenChanges::default(),
            memory: Memory::default(),
            audio: None,
        };
        let review = |kind| ReviewQuestion {
            persona: Arc::clone(&persona),
            kind,
            frame: frame(),
            first: "DevOps".to_owned(),
            report: Observation {
                severity: Severity::High,
                confidence: 0.8,
                category: Category::Other,
                title: "t".to_owned(),
                detail: "d".to_owned(),
                evidence: Vec::new(),
                mitre: Vec::new(),
                recommended_action: "a".to_owned(),
            },
            opinions: Vec::new(),
        };
        let questions: [Question; 4] = [
            look.into(),
            review(ReviewKind::Opinion).into(),
            review(ReviewKind::Verdict).into(),
            ask_in(language.clone()),
        ];
        questions.map(|question| ModelRequest::of(&question).unwrap().system)
    }

    #[test]
    fn every_prompt_names_the_language_unless_it_is_english() {
        let english = systems(&AnswerLanguage::default());
        let [look, opinion, verdict, answer] = &english;
        assert_eq!(look, opinion);
        assert_eq!(verdict, panel_prompt::REVIEWER);
        assert_eq!(answer, ask_prompt::SYSTEM);
        assert!(!english.concat().contains("language"), "{english:?}");

        let persona = "title, detail, recommended_action, not_sure and text";
        let german = systems(&AnswerLanguage::parse("German").unwrap());
        let fields = [persona, persona, "text", "answer"];
        for ((german, english), fields) in german.iter().zip(&english).zip(fields) {
            let expected = format!(
                "\n- Write {fields} in the language \"German\", whatever language the screen is \
                 in. Quotes, evidence above all, are copied as they stand on the screen, never \
                 translated; nor are names, commands and identifiers. Values to choose from, such \
                 as severity and category, stay as listed."
            );
            assert_eq!(german.strip_prefix(english.as_str()), Some(&*expected));
        }
    }

    #[test]
    fn context_of_a_stream_is_told_for_that_stream_only() {
        let context = |name: &str| StreamContext {
            name: StreamName::new(name).unwrap(),
            context: format!("The {name} screen."),
            normal: vec![NormalState::parse("CPU up to 95 %")],
        };
        let system = |streams: &[&str]| {
            let persona = Persona {
                streams: streams.iter().map(|name| context(name)).collect(),
                ..analyst(AnswerLanguage::default())
            };
            let question = ObserveQuestion {
                persona: Arc::new(persona),
                frames: vec![frame()],
                news: ScreenChanges::default(),
                memory: Memory::default(),
                audio: None,
            };
            ModelRequest::of(&question.into()).unwrap().system
        };
        let plain = system(&[]);
        assert_eq!(system(&["other"]), plain);
        assert_eq!(
            system(&["other", "team"]).strip_prefix(&plain),
            Some(
                "\n\nThe operator of stream \"team\" says about it:\nThe team screen.\n\
                 Normal on it, and no finding:\n- CPU up to 95 %"
            )
        );
    }

    #[test]
    fn prompt_is_built_once_and_bounds_the_cost() {
        let prepared = Prepared::new(ask()).prompted();
        let request = prepared.request().unwrap();
        let again = prepared.clone().metered(Meter::of(1)).prompted();
        assert!(Arc::ptr_eq(&request, &again.request().unwrap()));
        let bound = request.cost_bound(100, |_, _| 7);
        let sent = request.system.len() + request.text.len() + request.schema.to_string().len();
        let expected = CostBound {
            prompt_tokens: prompt::most_tokens(sent),
            output_tokens: 100,
        };
        assert_eq!(bound, expected, "no picture is paid for where none is sent");
    }

    #[test]
    fn request_without_a_picture_fails() {
        let question = ObserveQuestion {
            persona: Arc::new(analyst(AnswerLanguage::default())),
            frames: Vec::new(),
            news: ScreenChanges::default(),
            memory: Memory::default(),
            audio: None,
        };
        let prepared = Prepared::new(question.into()).prompted();
        let failure = prepared.request().unwrap_err();
        assert_eq!(failure, no_picture());
    }

    #[test]
    fn reply_to_another_kind_of_question_fails() {
        let response = ModelResponse {
            exchange: RawExchange {
                system: String::new(),
                question: String::new(),
                pictures: Vec::new(),
                answer: r#"{"citations": [1], "known": true, "answer": "Yes."}"#.to_owned(),
            },
            frame: None,
            usage: TokenUsage::default(),
        };
        let model = ModelRef {
            provider: "test".to_owned(),
            name: "m".to_owned(),
            version: String::new(),
            prompt: String::new(),
        };
        let reply = response.reply(&ask(), model).unwrap();
        assert_eq!(reply.clone().answered().unwrap().cited, [0]);
        for failure in [
            reply.clone().observed().unwrap_err(),
            reply.reviewed().unwrap_err(),
        ] {
            assert!(matches!(failure, Failure::NoAnswer { .. }), "{failure}");
        }
    }
}
