//! A question about what was on the screens, answered from the record alone.
//!
//! By search: it finds the lines and findings that speak of what was asked,
//! says when each was first seen, and says so when there are none. It judges
//! nothing and concludes nothing.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::AppState;
use super::api::bad_request;
use super::problem::Problem;
use crate::store::Recollection;

const LONGEST: usize = 500;
/// Citations in one answer.
const MOST: usize = 8;

/// Words that say nothing of what is asked for.
const EMPTY: &[&str] = &[
    "a", "about", "after", "all", "an", "and", "any", "anybody", "anyone", "anything", "are", "at",
    "be", "been", "before", "begin", "began", "by", "can", "could", "did", "do", "does", "ever",
    "find", "first", "for", "from", "had", "happen", "happened", "has", "have", "how", "i", "in",
    "is", "it", "last", "many", "me", "much", "of", "on", "or", "saw", "screen", "see", "seen",
    "show", "start", "started", "tell", "that", "the", "there", "this", "time", "to", "was", "we",
    "were", "what", "when", "where", "which", "who", "why", "with",
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    question: String,
}

/// `POST /api/ask`
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Answer {
    /// False: the record does not say.
    known: bool,
    answer: String,
    /// Oldest first.
    citations: Vec<Citation>,
    /// Who has answered: `search`.
    by: &'static str,
}

/// What an answer stands on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Citation {
    at: Timestamp,
    stream: String,
    /// The line as it stood there, or the finding's title.
    text: String,
    /// Null for a line of a screen.
    agent: Option<String>,
    incident: Option<Uuid>,
    #[serde(rename = "box")]
    bounds: Option<[u16; 4]>,
}

pub(super) async fn ask(
    State(state): State<AppState>,
    body: Result<Json<Question>, JsonRejection>,
) -> Result<Json<Answer>, Problem> {
    let Json(body) = body?;
    let length = body.question.chars().count();
    if length > LONGEST {
        return Err(bad_request(format!(
            "question must have at most {LONGEST} characters, got {length}"
        )));
    }
    let words = words(&body.question);
    if words.is_empty() {
        return Err(bad_request(
            "question must name something that may have been on a screen",
        ));
    }
    let found = state.views.findings.recall(words.clone()).await?;
    Ok(Json(answer(&words, found)))
}

/// What is asked for, as the beginnings of words: "logins" finds "login" too.
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

fn answer(words: &[String], found: Recollection) -> Answer {
    let lines = found.lines.into_iter().map(|hit| Citation {
        at: hit.observed_at,
        stream: hit.stream,
        text: hit.text,
        agent: None,
        incident: None,
        bounds: Some(hit.bounds),
    });
    let findings = found.findings.into_iter().map(|finding| {
        let quotes = finding.evidence.iter().map(|piece| piece.quote.as_str());
        let mut text = format!("{} {}", finding.title, finding.detail);
        quotes.for_each(|quote| text.extend([" ", quote]));
        let citation = Citation {
            at: finding.observed_at,
            stream: finding.stream.to_string(),
            text: finding.title.clone(),
            agent: Some(finding.agent.clone()),
            incident: finding.incident,
            bounds: finding.evidence.first().and_then(|piece| piece.bounds),
        };
        (text, citation)
    });
    let lines = lines.map(|citation| (citation.text.clone(), citation));
    let mut cited: Vec<(usize, Citation)> = findings
        .chain(lines)
        .map(|(text, citation)| (spoken_of(words, &text), citation))
        .collect();
    let most = cited.iter().map(|(count, _)| *count).max().unwrap_or(0);
    // Half of what was asked for, at the least, or it speaks of another thing.
    if most == 0 || 2 * most < words.len() {
        return Answer {
            known: false,
            answer:
                "I do not know: nothing that was read on the screens or found there speaks of it."
                    .to_owned(),
            citations: Vec::new(),
            by: "search",
        };
    }
    cited.retain(|(count, _)| *count == most);
    let mut citations: Vec<_> = cited.into_iter().map(|(_, citation)| citation).collect();
    citations.sort_by_key(|citation| citation.at);
    let (first, last) = (&citations[0], &citations[citations.len() - 1]);
    let said = match &first.agent {
        Some(agent) => format!("{agent} reported \"{}\"", first.text),
        None => format!("\"{}\" stood on the screen", first.text),
    };
    let mut answer = format!("First at {:.0} on {}: {said}.", first.at, first.stream);
    if citations.len() > 1 {
        answer.push_str(&format!(
            " {} places speak of it, the last first seen at {:.0}.",
            citations.len(),
            last.at
        ));
    }
    citations.truncate(MOST);
    Answer {
        known: true,
        answer,
        citations,
        by: "search",
    }
}

/// How many of the words a text holds, each as the beginning of a word.
fn spoken_of(words: &[String], text: &str) -> usize {
    let text = text.to_lowercase();
    let there: Vec<_> = text.split(|c: char| !c.is_alphanumeric()).collect();
    let begins = |word: &&String| there.iter().any(|one| one.starts_with(word.as_str()));
    words.iter().filter(begins).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Hit;

    fn hit(seconds: i64, text: &str) -> Hit {
        Hit {
            stream: "team".to_owned(),
            observed_at: Timestamp::from_second(seconds).unwrap(),
            frame_seq: 1,
            pts_ms: 0,
            text: text.to_owned(),
            bounds: [0, 0, 10, 10],
        }
    }

    #[test]
    fn what_is_asked_for_is_what_is_left_without_empty_words() {
        assert_eq!(
            words("When did the failed logins start?"),
            ["fail", "login"]
        );
        assert_eq!(words("What was it?"), [""; 0]);
        assert_eq!(words("CVE-2024-3094"), ["cve", "2024", "3094"]);
    }

    #[test]
    fn it_says_when_first_and_when_it_does_not_know() {
        let asked = words("When did the failed logins start?");
        let lines = vec![
            hit(90, "Failed login for admin"),
            hit(30, "Failed login for root"),
            hit(10, "login page"),
        ];
        let found = |lines| Recollection {
            lines,
            findings: Vec::new(),
        };
        let said = answer(&asked, found(lines));
        assert!(
            said.known && said.answer.contains("1970-01-01T00:00:30Z"),
            "{said:?}"
        );
        let texts: Vec<_> = said.citations.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts, ["Failed login for root", "Failed login for admin"]);
        assert!(!answer(&asked, found(Vec::new())).known);
        let asked = words("Which certificate of the mail gateway expires?");
        assert!(!answer(&asked, found(vec![hit(5, "gateway up")])).known);
    }
}
