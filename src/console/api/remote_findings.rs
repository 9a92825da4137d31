//! `POST /api/findings`: findings of remote agents.
//!
//! Text of a remote agent is validated and cleaned before it is stored: it ends
//! up in logs, on pages and in prompts of other agents.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use watchtower_domain::agent_name::is_agent_name;
use watchtower_domain::agent_status::NotAdmitted;
use watchtower_domain::finding::{Finding, WATCHTOWER, is_technique, printable};
use watchtower_screen::redact::mask_secrets;

use crate::AppState;
use crate::http::body::JsonBody;
use crate::http::problem::{Failed, NotDone, Problem};

// In characters.
const TITLE: usize = 500;
const TEXT: usize = 8_000;
const QUOTE: usize = 2_000;
const NAME: usize = 128;
// In items.
const EVIDENCE: usize = 32;
const TECHNIQUES: usize = 32;
/// Clock skew allowed between two machines.
const SKEW: SignedDuration = SignedDuration::from_mins(10);

/// Submits a finding of a remote agent
///
/// 201 with the finding as it is stored, or 200 if its id is known already: a
/// retry is safe.
#[utoipa::path(
    post,
    path = "/api/findings",
    tag = "findings",
    request_body = Finding,
    responses(
        (status = 200, description = "Already stored", body = Finding),
        (status = 201, body = Finding),
        (status = 429, description = "Too many remote agents", body = Problem, content_type = "application/problem+json"),
        Failed,
        NotDone,
    )
)]
pub(crate) async fn report(
    State(state): State<AppState>,
    finding: Result<JsonBody<Finding>, Problem>,
) -> Result<Response, Problem> {
    // Requires a JSON content type, which no other site's form can send.
    let JsonBody(finding) = finding?;
    check(&finding, Timestamp::now())?;
    // Not on the board, which lists analysts only.
    if finding.agent.eq_ignore_ascii_case(WATCHTOWER) {
        let why = format!(
            "agent {}: the name is reserved for the server itself",
            finding.agent
        );
        return Err(Problem::new(StatusCode::CONFLICT, why));
    }
    let finding = cleaned(finding);
    // Serialised, so that the same finding sent twice at once is stored once.
    let _turn = state.reports.lock().await;
    let console = &state.console;
    let id = finding.id;
    let known = console.findings.read(move |store| store.finding(id)).await;
    if let Some((_, known)) = known.map_err(not_now)? {
        return Ok((StatusCode::OK, Json(known)).into_response());
    }
    console
        .board
        .remote(&finding.agent, &finding.model.provider, &finding.model.name)
        .map_err(|refusal| not_admitted(&finding.agent, refusal))?;
    let (agent, severity) = (finding.agent.clone(), finding.severity);
    let stored = console.findings.publish(finding).await.map_err(not_now)?;
    console.analyst_metrics.finding(&agent, severity);
    console.board.reported(&agent);
    Ok((StatusCode::CREATED, Json(stored.as_ref())).into_response())
}

fn not_admitted(agent: &str, refusal: NotAdmitted) -> Problem {
    let status = match refusal {
        NotAdmitted::Ours => StatusCode::CONFLICT,
        NotAdmitted::Full => StatusCode::TOO_MANY_REQUESTS,
    };
    Problem::new(status, format!("agent {agent}: {refusal}"))
}

fn not_now(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "failed to store a remote analyst's finding");
    let why = "the finding could not be written; send it again later";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, why)
}

/// Checks of a finding beyond its type.
fn check(finding: &Finding, now: Timestamp) -> Result<(), Problem> {
    let wrong = |field: &str, expected: &str| {
        let detail = format!("{field}: expected {expected}");
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail))
    };
    let fits = |text: &str, most: usize| text.chars().count() <= most;
    let latest = now + SKEW;
    if finding.id.get_version_num() != 7 || made_at(finding.id).is_none_or(|at| at > latest) {
        return wrong("id", "a UUIDv7 that was not made in the future");
    }
    if !is_agent_name(&finding.agent) {
        return wrong("agent", "1 to 32 characters of A-Z a-z 0-9 _ -");
    }
    if finding.observed_at > latest || finding.observed_at < Timestamp::UNIX_EPOCH {
        return wrong("observed_at", "a time since 1970 and not in the future");
    }
    let sum = &finding.frame.sha256;
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    if !(sum.is_empty() || sum.len() == 64 && sum.bytes().all(hexadecimal)) {
        return wrong(
            "frame.sha256",
            "64 lower-case hexadecimal digits, or nothing",
        );
    }
    if !(0.0..=1.0).contains(&finding.confidence) {
        return wrong("confidence", "a number from 0 to 1");
    }
    if printable(&finding.title).trim().is_empty() || !fits(&finding.title, TITLE) {
        return wrong("title", &format!("1 to {TITLE} characters"));
    }
    let texts = [
        ("detail", &finding.detail, TEXT),
        ("recommended_action", &finding.recommended_action, TEXT),
        ("model.provider", &finding.model.provider, NAME),
        ("model.name", &finding.model.name, NAME),
        ("model.version", &finding.model.version, NAME),
        ("model.prompt", &finding.model.prompt, NAME),
    ];
    for (field, text, most) in texts {
        if !fits(text, most) {
            return wrong(field, &format!("at most {most} characters"));
        }
    }
    if finding.evidence.len() > EVIDENCE {
        return wrong("evidence", &format!("at most {EVIDENCE} items"));
    }
    for (nth, evidence) in finding.evidence.iter().enumerate() {
        if !fits(&evidence.quote, QUOTE) {
            let field = format!("evidence[{nth}].quote");
            return wrong(&field, &format!("at most {QUOTE} characters"));
        }
        let ordered = |[top, left, bottom, right]: [u16; 4]| {
            top <= bottom && left <= right && bottom <= 1000 && right <= 1000
        };
        if !evidence.bounds.is_none_or(ordered) {
            let field = format!("evidence[{nth}].box");
            return wrong(&field, "[ymin, xmin, ymax, xmax] in order, from 0 to 1000");
        }
    }
    if finding.mitre.len() > TECHNIQUES || !finding.mitre.iter().all(|id| is_technique(id)) {
        let expected = format!("at most {TECHNIQUES} ATT&CK ids such as T1552.001");
        return wrong("mitre", &expected);
    }
    Ok(())
}

fn made_at(id: Uuid) -> Option<Timestamp> {
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Timestamp::new(
        i64::try_from(seconds).ok()?,
        i32::try_from(nanoseconds).ok()?,
    )
    .ok()
}

/// Finding without terminal control characters, unmasked secrets, and fields
/// the server sets itself.
fn cleaned(mut finding: Finding) -> Finding {
    let clean = |text: &mut String| *text = mask_secrets(&printable(text)).into_owned();
    clean(&mut finding.title);
    clean(&mut finding.detail);
    clean(&mut finding.recommended_action);
    clean(&mut finding.model.provider);
    clean(&mut finding.model.name);
    clean(&mut finding.model.version);
    clean(&mut finding.model.prompt);
    for evidence in &mut finding.evidence {
        clean(&mut evidence.quote);
    }
    finding.incident = None;
    finding
}
