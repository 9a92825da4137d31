//! Questions about past screens, answered from the record alone.
//!
//! Search first: it finds the lines and findings that match the question. The
//! configured model, where there is one, then answers from those and has to
//! cite its sources; an answer without sources is rejected. Without an
//! available model the search answers with the first match. Without matches no
//! model is asked, and the answer is "no data".

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use watchtower_domain::finding::ModelRef;
use watchtower_domain::transcript::Cost;
use watchtower_models::model::Answered;
use watchtower_record::store::Recollection;

use super::stills::StillShown;
use crate::AppState;
use crate::http::body::{JsonBody, is_blank};
use crate::http::list::bad_request;
use crate::http::problem::{Failed, NotDone, Problem};

const LONGEST: usize = 500;
/// Maximum citations in one answer.
const MOST: usize = 8;
/// Maximum entries of the record in a model's prompt.
const RECORD: usize = 60;

/// Stop words.
const EMPTY: &[&str] = &[
    "a", "about", "after", "all", "an", "and", "any", "anybody", "anyone", "anything", "are", "at",
    "be", "been", "before", "begin", "began", "by", "can", "could", "did", "do", "does", "ever",
    "find", "first", "for", "from", "had", "happen", "happened", "has", "have", "how", "i", "in",
    "is", "it", "last", "many", "me", "much", "of", "on", "or", "saw", "screen", "see", "seen",
    "show", "start", "started", "tell", "that", "the", "there", "this", "time", "to", "was", "we",
    "were", "what", "when", "where", "which", "who", "why", "with",
];

const UNKNOWN: &str = "No data";
const UNSAID: &str = "No answer in the matching screen text and findings";

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Question)]
pub(crate) struct AskRequest {
    /// Text of the question, 1 to 500 characters.
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    )]
    question: String,
}

/// Answer to a question, from screen text and findings.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Answer)]
pub(crate) struct AskResponse {
    /// False: no data.
    known: bool,
    answer: String,
    /// Oldest first, at most 8.
    citations: Vec<Citation>,
    by: By,
    /// Model of the answer; null for an answer by search alone.
    model: Option<ModelRef>,
    cost: Option<Cost>,
    /// Reason the configured model did not answer; null if it did, or without
    /// one.
    note: Option<String>,
}

/// Source of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum By {
    Search,
    Model,
}

/// Source that an answer cites.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Citation {
    /// When the line appeared, or the picture of the finding was captured.
    at: Timestamp,
    stream: String,
    /// Line as displayed, or the finding's title.
    text: String,
    /// Agent that found it; null for a line of screen text.
    agent: Option<String>,
    incident: Option<Uuid>,
    /// `[ymin, xmin, ymax, xmax]` in thousandths of the picture.
    #[serde(rename = "box")]
    #[schema(schema_with = watchtower_domain::finding::box_or_null, required = false)]
    bounds: Option<[u16; 4]>,
    /// Still of the screen; null if none was stored within 30 s.
    still: Option<StillShown>,
}

/// Entry of the record, and its searched text.
struct CitedEntry {
    citation: Citation,
    /// Search words that it contains.
    holds: usize,
}

impl CitedEntry {
    fn line(&self) -> String {
        let Citation {
            at,
            stream,
            text,
            agent,
            ..
        } = &self.citation;
        match agent {
            Some(agent) => format!("{at:.0} {stream}, {agent} reported: {text}"),
            None => format!("{at:.0} {stream}, on the screen: {text}"),
        }
    }
}

/// Answers a question about what was on the screens
///
/// By the configured model from search results, or by search alone.
#[utoipa::path(post, path = "/api/ask", tag = "history", request_body = AskRequest, responses((status = 200, body = AskResponse), Failed, NotDone))]
pub(crate) async fn ask(
    State(state): State<AppState>,
    body: Result<JsonBody<AskRequest>, Problem>,
) -> Result<Json<AskResponse>, Problem> {
    let JsonBody(AskRequest { question }) = body?;
    let length = question.chars().count();
    if is_blank(&question) || length > LONGEST {
        return Err(bad_request(format!(
            "question must have 1 to {LONGEST} characters, got {length}"
        )));
    }
    let words = words(&question);
    if words.is_empty() {
        return Err(bad_request("question must contain a search word"));
    }
    let terms = words.clone();
    let found = state
        .console
        .findings
        .read(move |store| store.recall(&terms));
    let found = found.await?;
    let entries = entries(&words, found);
    if entries.is_empty() {
        return Ok(Json(AskResponse::unknown(UNKNOWN)));
    }
    let record = entries.iter().map(CitedEntry::line).collect();
    let answer = match state.console.answers.put(question, record).await {
        None => searched(&words, entries),
        Some(Ok(answered)) => by_model(answered, entries),
        Some(Err(failure)) => AskResponse {
            note: Some(format!("Model not responding: {failure}")),
            ..searched(&words, entries)
        },
    };
    Ok(Json(answer))
}

/// Search terms as word prefixes: "logins" finds "login" too.
fn words(question: &str) -> Vec<String> {
    let words = question.split(|c: char| !c.is_alphanumeric());
    let words = words.map(str::to_lowercase);
    let mut kept: Vec<String> = Vec::new();
    for word in words.filter(|word| !word.is_empty() && !EMPTY.contains(&word.as_str())) {
        let stem = stem(&word).to_owned();
        if !kept.contains(&stem) {
            kept.push(stem);
        }
    }
    kept
}

fn stem(word: &str) -> &str {
    let long_enough = |stem: &&str| stem.chars().count() >= 4;
    ["ing", "ed", "es", "s"]
        .iter()
        .find_map(|end| word.strip_suffix(end).filter(long_enough))
        .unwrap_or(word)
}

/// Entries with the most search terms, oldest first.
fn entries(words: &[String], found: Recollection) -> Vec<CitedEntry> {
    let lines = found.lines.into_iter().map(|hit| CitedEntry {
        holds: held(words, &hit.text),
        citation: Citation {
            at: hit.observed_at,
            stream: hit.stream,
            text: hit.text,
            agent: None,
            incident: None,
            bounds: Some(hit.bounds),
            still: hit.still.map(StillShown::from),
        },
    });
    let findings = found.findings.into_iter().map(|finding| {
        let quotes = finding.evidence.iter().map(|piece| piece.quote.as_str());
        let mut text = format!("{} {}", finding.title, finding.detail);
        quotes.for_each(|quote| text.extend([" ", quote]));
        CitedEntry {
            holds: held(words, &text),
            citation: Citation {
                at: finding.observed_at,
                stream: finding.stream.to_string(),
                bounds: finding.evidence.first().and_then(|piece| piece.bounds),
                text: finding.title,
                agent: Some(finding.agent),
                incident: finding.incident,
                still: None,
            },
        }
    });
    let mut entries: Vec<_> = findings.chain(lines).collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.holds));
    entries.truncate(RECORD);
    entries.retain(|entry| entry.holds > 0);
    entries.sort_by_key(|entry| entry.citation.at);
    entries
}

/// Number of the terms in a text, each as the prefix of a word.
fn held(words: &[String], text: &str) -> usize {
    let text = text.to_lowercase();
    let tokens: Vec<_> = text.split(|c: char| !c.is_alphanumeric()).collect();
    let begins = |word: &&String| tokens.iter().any(|one| one.starts_with(word.as_str()));
    words.iter().filter(begins).count()
}

/// Answer by search alone: the first match, and the number of others, without
/// assessment.
fn searched(words: &[String], entries: Vec<CitedEntry>) -> AskResponse {
    let most = entries.iter().map(|entry| entry.holds).max();
    let most = most.unwrap_or_default();
    // At least half of the terms, or the match is about something else.
    if most == 0 || 2 * most < words.len() {
        return AskResponse::unknown(UNKNOWN);
    }
    let best = entries.into_iter().filter(|entry| entry.holds == most);
    let mut citations: Vec<_> = best.map(|entry| entry.citation).collect();
    let (first, last) = (&citations[0], &citations[citations.len() - 1]);
    let match_text = match &first.agent {
        Some(agent) => format!("{agent} reported \"{}\"", first.text),
        None => format!("\"{}\" on screen", first.text),
    };
    let mut answer = format!(
        "First at {:.0} on {}: {match_text}.",
        first.at, first.stream
    );
    if citations.len() > 1 {
        answer.push_str(&format!(
            " {} matches, the latest first seen at {:.0}.",
            citations.len(),
            last.at
        ));
    }
    citations.truncate(MOST);
    AskResponse {
        known: true,
        answer,
        citations,
        by: By::Search,
        model: None,
        cost: None,
        note: None,
    }
}

fn by_model(answered: Answered, entries: Vec<CitedEntry>) -> AskResponse {
    let reply = answered.reply;
    let cited = &reply.cited;
    let citations = entries
        .into_iter()
        .enumerate()
        .filter(|(place, _)| cited.contains(place))
        .map(|(_, entry)| entry.citation)
        .take(MOST)
        .collect();
    AskResponse {
        known: reply.answer.is_some(),
        answer: reply.answer.unwrap_or_else(|| UNSAID.to_owned()),
        citations,
        by: By::Model,
        model: Some(reply.model),
        cost: Some(answered.cost),
        note: None,
    }
}

impl AskResponse {
    fn unknown(why: &str) -> Self {
        Self {
            known: false,
            answer: why.to_owned(),
            citations: Vec::new(),
            by: By::Search,
            model: None,
            cost: None,
            note: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchtower_domain::cost::TokenUsage;
    use watchtower_models::model::AskReply;
    use watchtower_record::store::Hit;

    fn hit(seconds: i64, text: &str) -> Hit {
        Hit {
            stream: "team".to_owned(),
            observed_at: Timestamp::from_second(seconds).unwrap(),
            frame_seq: 1,
            pts_ms: 0,
            text: text.to_owned(),
            bounds: [0, 0, 10, 10],
            still: None,
        }
    }

    fn found(words: &[String], lines: Vec<Hit>) -> Vec<CitedEntry> {
        let found = Recollection {
            lines,
            findings: Vec::new(),
        };
        entries(words, found)
    }

    fn logins() -> Vec<Hit> {
        vec![
            hit(90, "Failed login for admin"),
            hit(30, "Failed login for root"),
            hit(10, "login page"),
        ]
    }

    #[test]
    fn search_terms_exclude_stop_words() {
        assert_eq!(
            words("When did the failed logins start?"),
            ["fail", "login"]
        );
        assert_eq!(words("What was it?"), [""; 0]);
        assert_eq!(words("CVE-2024-3094"), ["cve", "2024", "3094"]);
    }

    #[test]
    fn answer_by_search_is_the_first_match_or_no_data() {
        let terms = words("When did the failed logins start?");
        let response = searched(&terms, found(&terms, logins()));
        assert!(
            response.known && response.answer.contains("1970-01-01T00:00:30Z"),
            "{response:?}"
        );
        let texts: Vec<_> = response
            .citations
            .iter()
            .map(|one| one.text.as_str())
            .collect();
        assert_eq!(texts, ["Failed login for root", "Failed login for admin"]);
        assert!(!searched(&terms, Vec::new()).known);
        let terms = words("Which certificate of the mail gateway expires?");
        let entries = found(&terms, vec![hit(5, "gateway up")]);
        assert!(!searched(&terms, entries).known);
    }

    #[test]
    fn citations_of_a_model_are_its_sources() {
        let terms = words("When did the failed logins start?");
        let entries = || found(&terms, logins());
        let lines: Vec<_> = entries().iter().map(CitedEntry::line).collect();
        assert_eq!(
            lines[1],
            "1970-01-01T00:00:30Z team, on the screen: Failed login for root"
        );
        let answered = |answer: Option<&str>, cited| Answered {
            reply: AskReply {
                answer: answer.map(str::to_owned),
                cited,
                usage: TokenUsage::default(),
                model: ModelRef {
                    provider: "gemini".to_owned(),
                    name: "m".to_owned(),
                    version: String::new(),
                    prompt: String::new(),
                },
            },
            cost: Cost::default(),
        };
        let response = by_model(answered(Some("At 00:00:30."), vec![1]), entries());
        assert_eq!((response.known, response.citations.len()), (true, 1));
        assert_eq!(response.citations[0].text, "Failed login for root");
        let response = by_model(answered(None, Vec::new()), entries());
        assert_eq!((response.known, response.citations.len()), (false, 0));
    }
}
