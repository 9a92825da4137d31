//! Findings of analysts, in the JSON of logs, API and sinks.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, ArrayBuilder, ObjectBuilder, SchemaType, Type};
use uuid::Uuid;

use watchtower_base::stream_name::StreamName;

/// Agent name of the server's own findings, on monitoring gaps.
pub const WATCHTOWER: &str = "Watchtower";

/// Severity of a finding, worst first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Critical,
    High,
    Medium,
    Low,
    Info,
}

impl Severity {
    pub const ALL: [Self; 5] = [
        Self::Critical,
        Self::High,
        Self::Medium,
        Self::Low,
        Self::Info,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Info => "info",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Category of a finding. The list is closed: models answer with one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    SecretExposure,
    PersonalData,
    SuspiciousCommand,
    MalwareIndicator,
    Phishing,
    Misconfiguration,
    Policy,
    Vulnerability,
    Availability,
    Performance,
    Compliance,
    Anomaly,
    AiAbuse,
    Architecture,
    PromptInjection,
    Intrusion,
    Other,
}

impl Category {
    pub const ALL: [Self; 17] = [
        Self::SecretExposure,
        Self::PersonalData,
        Self::SuspiciousCommand,
        Self::MalwareIndicator,
        Self::Phishing,
        Self::Misconfiguration,
        Self::Policy,
        Self::Vulnerability,
        Self::Availability,
        Self::Performance,
        Self::Compliance,
        Self::Anomaly,
        Self::AiAbuse,
        Self::Architecture,
        Self::PromptInjection,
        Self::Intrusion,
        Self::Other,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::SecretExposure => "secret_exposure",
            Self::PersonalData => "personal_data",
            Self::SuspiciousCommand => "suspicious_command",
            Self::MalwareIndicator => "malware_indicator",
            Self::Phishing => "phishing",
            Self::Misconfiguration => "misconfiguration",
            Self::Policy => "policy",
            Self::Vulnerability => "vulnerability",
            Self::Availability => "availability",
            Self::Performance => "performance",
            Self::Compliance => "compliance",
            Self::Anomaly => "anomaly",
            Self::AiAbuse => "ai_abuse",
            Self::Architecture => "architecture",
            Self::PromptInjection => "prompt_injection",
            Self::Intrusion => "intrusion",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Evidence for a finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    /// Copied from the screen, secrets masked; empty when purely visual.
    #[schema(max_length = 2000)]
    pub quote: String,
    /// `[ymin, xmin, ymax, xmax]` in thousandths of the picture.
    #[serde(rename = "box")]
    #[schema(schema_with = box_or_null, required = false)]
    pub bounds: Option<[u16; 4]>,
    /// True if the quote was found on the screen; `None` while unchecked.
    pub grounded: Option<bool>,
}

/// ATT&CK technique or sub-technique by its form: `T1552`, `T1552.001`.
pub fn is_technique(id: &str) -> bool {
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let Some(number) = id.strip_prefix('T') else {
        return false;
    };
    match number.split_once('.') {
        Some((technique, part)) => digits(technique, 4) && digits(part, 3),
        None => digits(number, 4),
    }
}

/// JSON Schema of a place on a picture.
pub fn box_of_thousandths() -> Array {
    place(Type::Array.into())
}

/// JSON Schema of a place on a picture that may be null.
pub fn box_or_null() -> Array {
    place([Type::Array, Type::Null].into_iter().collect())
}

fn place(kind: SchemaType) -> Array {
    let thousandth = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .maximum(Some(1000));
    ArrayBuilder::new()
        .schema_type(kind)
        .items(thousandth)
        .min_items(Some(4))
        .max_items(Some(4))
        .description(Some(
            "`[ymin, xmin, ymax, xmax]` in thousandths of the picture.",
        ))
        .build()
}

/// Content of a finding, as returned by a model, without agent, frame and
/// times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    pub severity: Severity,
    /// 0 to 1.
    pub confidence: f32,
    pub category: Category,
    pub title: String,
    pub detail: String,
    pub evidence: Vec<Evidence>,
    /// ATT&CK technique ids, for instance `T1552.001`.
    pub mitre: Vec<String>,
    pub recommended_action: String,
}

impl Observation {
    /// Places of its evidence on the picture, the best first, without those of
    /// quotes that were not found there.
    pub fn places(&self) -> Vec<[u16; 4]> {
        let mut pieces: Vec<_> = self.evidence.iter().collect();
        // Stable: of equal ones the first.
        pieces.sort_by_key(|piece| std::cmp::Reverse((piece.grounded, piece.quote.len().min(200))));
        let shown = |piece: &&Evidence| piece.grounded != Some(false);
        let pieces = pieces.into_iter().filter(shown);
        pieces.filter_map(|piece| piece.bounds).collect()
    }
}

/// Frame that a finding was made on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FrameRef {
    pub seq: u64,
    /// Milliseconds on the stream's own clock.
    pub pts_ms: i64,
    /// SHA-256 of the JPEG as stored or sent, lower-case hexadecimal.
    #[schema(pattern = "^([0-9a-f]{64})?$")]
    pub sha256: String,
}

/// Model that made a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelRef {
    #[schema(max_length = 128)]
    pub provider: String,
    #[schema(max_length = 128)]
    pub name: String,
    /// Version reported by the model, which may differ from `name`.
    #[schema(max_length = 128)]
    pub version: String,
    /// Version of the prompt; empty for rules, which have only `version`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(max_length = 128)]
    pub prompt: String,
}

/// Finding of one analyst: a line of `findings.jsonl`, an item of
/// `/api/findings`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// UUIDv7 (RFC 9562, section 5.7): sorts by time of publication.
    pub id: Uuid,
    /// The incident it belongs to; null while there is none.
    #[schema(pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
    pub incident: Option<Uuid>,
    #[schema(min_length = 1, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    pub agent: String,
    #[serde(with = "stream_name")]
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]*$")]
    pub stream: StreamName,
    /// When the picture was captured, UTC.
    pub observed_at: Timestamp,
    pub frame: FrameRef,
    pub severity: Severity,
    #[schema(minimum = 0, maximum = 1)]
    pub confidence: f32,
    pub category: Category,
    #[schema(min_length = 1, max_length = 500)]
    pub title: String,
    #[schema(max_length = 8000)]
    pub detail: String,
    #[schema(max_items = 32)]
    pub evidence: Vec<Evidence>,
    /// ATT&CK technique ids, for instance `T1552.001`.
    #[schema(max_items = 32)]
    pub mitre: Vec<String>,
    #[schema(max_length = 8000)]
    pub recommended_action: String,
    pub model: ModelRef,
}

impl Finding {
    pub fn new(
        agent: &str,
        stream: StreamName,
        observed_at: Timestamp,
        frame: FrameRef,
        observation: Observation,
        model: ModelRef,
    ) -> Self {
        Self {
            id: Uuid::now_v7(),
            incident: None,
            agent: agent.to_owned(),
            stream,
            observed_at,
            frame,
            severity: observation.severity,
            confidence: observation.confidence,
            category: observation.category,
            title: observation.title,
            detail: observation.detail,
            evidence: observation.evidence,
            mitre: observation.mitre,
            recommended_action: observation.recommended_action,
            model,
        }
    }

    /// Finding for tests, which change the fields under test: SecOps reports
    /// failed logins on the stream `team`, at the epoch, without evidence.
    #[doc(hidden)]
    pub fn sample() -> Self {
        let observation = Observation {
            severity: Severity::High,
            confidence: 0.9,
            category: Category::Intrusion,
            title: "Failed logins".to_owned(),
            detail: String::new(),
            evidence: Vec::new(),
            mitre: Vec::new(),
            recommended_action: String::new(),
        };
        let frame = FrameRef {
            seq: 1,
            pts_ms: 0,
            sha256: String::new(),
        };
        let model = ModelRef {
            provider: "test".to_owned(),
            name: "test".to_owned(),
            version: "1".to_owned(),
            prompt: String::new(),
        };
        let stream = StreamName::new("team").expect("a valid name");
        let at = Timestamp::UNIX_EPOCH;
        Self::new("SecOps", stream, at, frame, observation, model)
    }
}

/// Maximum length of a finding's texts in characters: far more than is
/// readable, far less than a broken model may write.
const MOST_TITLE: usize = 300;
const MOST_TEXT: usize = 8000;
const MOST_QUOTE: usize = 2000;
const MOST_ITEMS: usize = 32;

impl Finding {
    /// Cuts overlong texts, with an ellipsis.
    pub fn bound(&mut self) {
        cut(&mut self.title, MOST_TITLE);
        cut(&mut self.detail, MOST_TEXT);
        cut(&mut self.recommended_action, MOST_TEXT);
        self.evidence.truncate(MOST_ITEMS);
        for piece in &mut self.evidence {
            cut(&mut piece.quote, MOST_QUOTE);
        }
        self.mitre.truncate(MOST_ITEMS);
        for id in &mut self.mitre {
            cut(id, MOST_TITLE);
        }
    }
}

fn cut(text: &mut String, most: usize) {
    if text.chars().nth(most).is_some()
        && let Some((at, _)) = text.char_indices().nth(most - 1)
    {
        text.truncate(at);
        text.push('…');
    }
}

/// Text of a screen or a model, safe for a terminal: on one line, without
/// control characters (and so without ANSI sequences) and without marks of text
/// direction.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let kept = text.chars().filter_map(|c| match c {
        '\n' | '\r' | '\t' => Some(' '),
        c if is_unprintable(c) => None,
        c => Some(c),
    });
    Cow::Owned(kept.collect())
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
        || ('\u{e0000}'..='\u{e007f}').contains(&c)
}

pub(crate) mod stream_name {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use watchtower_base::stream_name::StreamName;

    pub(crate) fn serialize<S: Serializer>(name: &StreamName, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<StreamName, D::Error> {
        let name = String::deserialize(from)?;
        StreamName::new(&name).map_err(D::Error::custom)
    }
}

pub const SEVERITIES: [(&str, Severity); 5] = [
    ("critical", Severity::Critical),
    ("high", Severity::High),
    ("medium", Severity::Medium),
    ("low", Severity::Low),
    ("info", Severity::Info),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_control_characters_are_removed() {
        assert_eq!(printable("plain ünïcode ✓"), "plain ünïcode ✓");
        assert_eq!(printable("a\x1b[2Jb\nc\td\u{9b}31m"), "a[2Jb c d31m");
        assert_eq!(printable("user\u{202e}gpj.exe\u{200b}"), "usergpj.exe");
    }

    #[test]
    fn techniques_are_known_by_their_form() {
        for good in ["T1552", "T1552.001"] {
            assert!(is_technique(good), "{good}");
        }
        for bad in [
            "",
            "1552",
            "T155",
            "T15520",
            "T1552.",
            "T1552.01",
            "T155x.001",
            "T1552.00x",
        ] {
            assert!(!is_technique(bad), "{bad}");
        }
    }

    #[test]
    fn categories_are_written_as_they_are_read() {
        for category in Category::ALL {
            let written = serde_json::to_value(category).unwrap();
            assert_eq!(written, category.as_str());
            assert_eq!(written, category.to_string());
        }
        assert_eq!(format!("{:>8}", Category::Policy), "  policy");
    }

    #[test]
    fn places_are_those_of_proof_the_best_first() {
        let piece = |quote: &str, grounded, at: Option<u16>| Evidence {
            quote: quote.to_owned(),
            bounds: at.map(|at| [at, at, at + 10, at + 10]),
            grounded,
        };
        let observation = Observation {
            severity: Severity::High,
            confidence: 0.5,
            category: Category::Intrusion,
            title: String::new(),
            detail: String::new(),
            evidence: vec![
                piece("unchecked", None, Some(1)),
                piece("short", Some(true), Some(2)),
                piece("invented", Some(false), Some(3)),
                piece("no place is known of it", Some(true), None),
                piece("found and longer", Some(true), Some(4)),
            ],
            mitre: Vec::new(),
            recommended_action: String::new(),
        };
        let tops: Vec<_> = observation.places().iter().map(|place| place[0]).collect();
        assert_eq!(tops, [4, 2, 1]);
    }

    #[test]
    fn overlong_texts_are_cut_at_whole_characters() {
        let long = |length| "é".repeat(length);
        let mut finding = Finding::sample();
        finding.title = long(MOST_TITLE);
        finding.detail = long(MOST_TEXT + 1);
        let piece = Evidence {
            quote: long(MOST_QUOTE + 5),
            bounds: None,
            grounded: None,
        };
        finding.evidence = vec![piece; MOST_ITEMS + 1];
        finding.mitre = vec!["T1552".to_owned(); MOST_ITEMS + 1];
        finding.bound();
        assert_eq!(finding.title, long(MOST_TITLE));
        assert_eq!(finding.detail, long(MOST_TEXT - 1) + "…");
        assert_eq!(finding.evidence.len(), MOST_ITEMS);
        assert_eq!(finding.evidence[0].quote, long(MOST_QUOTE - 1) + "…");
        assert_eq!(finding.mitre.len(), MOST_ITEMS);
    }

    #[test]
    fn places_have_four_thousandths() {
        for (schema, kinds) in [
            (box_of_thousandths(), serde_json::json!("array")),
            (box_or_null(), serde_json::json!(["array", "null"])),
        ] {
            let schema = serde_json::to_value(schema).unwrap();
            assert_eq!(schema["type"], kinds);
            assert_eq!(
                (&schema["minItems"], &schema["maxItems"]),
                (&4.into(), &4.into())
            );
            assert_eq!(schema["items"]["maximum"], 1000);
        }
    }

    #[test]
    fn a_finding_is_written_as_the_contract_says() {
        let observation = Observation {
            severity: Severity::High,
            confidence: 0.5,
            category: Category::SecretExposure,
            title: "t".to_owned(),
            detail: "d".to_owned(),
            evidence: vec![Evidence {
                quote: "q".to_owned(),
                bounds: Some([1, 2, 3, 4]),
                grounded: None,
            }],
            mitre: vec!["T1552.001".to_owned()],
            recommended_action: "a".to_owned(),
        };
        let frame = FrameRef {
            seq: 1,
            pts_ms: 40,
            sha256: "00".to_owned(),
        };
        let model = ModelRef {
            provider: "p".to_owned(),
            name: "n".to_owned(),
            version: "v".to_owned(),
            prompt: String::new(),
        };
        let stream = StreamName::new("team").unwrap();
        let mut finding = Finding::new(
            "SecOps",
            stream,
            Timestamp::UNIX_EPOCH,
            frame,
            observation,
            model,
        );
        finding.id = Uuid::nil();
        insta::assert_json_snapshot!(finding);
    }
}
