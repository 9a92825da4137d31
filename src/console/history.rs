//! What the screens looked like, and what was done in a span of time.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::AppState;
use super::api::{List, bad_request, page_size};
use super::incidents::evidence_url;
use super::problem::Problem;
use crate::model::Spend;
use crate::store::{Moment, MomentQuery};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MomentsQuery {
    stream: Option<String>,
    /// Seen at or after, and before (RFC 3339).
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// `next` of the page before.
    cursor: Option<u64>,
    limit: Option<usize>,
}

/// The stills kept of the screens, the newest first.
pub(super) async fn moments(
    State(state): State<AppState>,
    query: Result<Query<MomentsQuery>, QueryRejection>,
) -> Result<Json<List<Value>>, Problem> {
    let Query(query) = query?;
    let page = state.views.findings.moments(MomentQuery {
        stream: query.stream,
        since: query.since,
        until: query.until,
        before: query.cursor,
        limit: page_size(query.limit)?,
    });
    let page = page.await?;
    Ok(Json(List {
        items: page.items.iter().map(shown).collect(),
        next: page.next.map(|seq| seq.to_string()),
    }))
}

/// With the address of the picture.
pub(super) fn shown(moment: &Moment) -> Value {
    json!({
        "stream": moment.stream,
        "seen_at": moment.seen_at,
        "frame_seq": moment.frame_seq,
        "sha256": moment.sha256,
        "url": evidence_url(&moment.sha256),
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Span {
    since: Timestamp,
    until: Option<Timestamp>,
}

/// What happened in a span of time, to be handed over with the shift: what
/// people decided and wrote, oldest first, and what models cost.
pub(super) async fn handover(
    State(state): State<AppState>,
    query: Result<Query<Span>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(span) = query?;
    let until = span.until.unwrap_or_else(Timestamp::now);
    if until <= span.since {
        return Err(bad_request("until must be later than since"));
    }
    let findings = &state.views.findings;
    let done = findings.done_between(span.since, until).await?;
    let spent = findings.spent_since(span.since).await?;
    let spent = spent.into_iter().filter(|spend| spend.minute < until);
    let models: Vec<_> = by_model(spent).iter().map(cost).collect();
    Ok(Json(json!({
        "since": span.since,
        "until": until,
        "done": done,
        "spent": models,
    })))
}

/// What was spent with each model, in the order they were first asked.
fn by_model(minutes: impl Iterator<Item = Spend>) -> Vec<Spend> {
    let mut models: Vec<Spend> = Vec::new();
    for spend in minutes {
        let same =
            |known: &&mut Spend| known.provider == spend.provider && known.model == spend.model;
        match models.iter_mut().find(same) {
            Some(known) => {
                known.requests += spend.requests;
                known.prompt_tokens += spend.prompt_tokens;
                known.output_tokens += spend.output_tokens;
                known.micro_usd += spend.micro_usd;
            }
            None => models.push(spend),
        }
    }
    models
}

fn cost(spend: &Spend) -> Value {
    json!({
        "provider": spend.provider,
        "model": spend.model,
        "requests": spend.requests,
        "prompt_tokens": spend.prompt_tokens,
        "output_tokens": spend.output_tokens,
        "micro_usd": spend.micro_usd,
    })
}
