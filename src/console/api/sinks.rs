//! Sinks: their delivery status and dead letters.

use std::convert::identity;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use watchtower_domain::sink_status::Delivery;
use watchtower_record::store::{Buried, Readers};

use crate::AppState;
use crate::http::list::{List, page_size};
use crate::http::problem::{Failed, Problem};

/// Delivery status of a sink.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SinkShown {
    #[serde(flatten)]
    delivery: Delivery,
    /// Events in its backlog.
    behind: u64,
}

/// Sinks, in the order of `watchtower.toml`
#[utoipa::path(get, path = "/api/sinks", tag = "sinks", responses((status = 200, body = List<SinkShown>), Failed))]
pub(crate) async fn sinks(State(state): State<AppState>) -> Result<Json<List<SinkShown>>, Problem> {
    let last = state.console.findings.read_for_sink(Readers::last_happened);
    let last = last.await?;
    let items = state.console.sink_board.list().into_iter();
    let items = items.map(|delivery| SinkShown {
        behind: last.saturating_sub(delivery.told),
        delivery,
    });
    Ok(Json(List::whole(items.collect())))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadQuery {
    /// `next` of the previous page.
    #[param(minimum = 0, maximum = 9223372036854775807i64)]
    cursor: Option<u64>,
    /// Items of a page, 1 to 1000; 50 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Dead letters of a sink, rejected by its receiver, the newest first
#[utoipa::path(
    get,
    path = "/api/sinks/{name}/dead",
    tag = "sinks",
    params(("name" = String, Path, description = "Name of the sink, as in `watchtower.toml`"), DeadQuery),
    responses(
        (status = 200, body = List<Buried>),
        (status = 404, description = "Sink not found", body = Problem, content_type = "application/problem+json"),
        Failed,
    )
)]
pub(crate) async fn dead_letters(
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<DeadQuery>, QueryRejection>,
) -> Result<Json<List<Buried>>, Problem> {
    let Path(name) = name?;
    let Query(query) = query?;
    let limit = page_size(query.limit)?;
    let rows = state.console.sink_board.list();
    if !rows.iter().any(|row| row.name == name) {
        return Err(Problem::new(StatusCode::NOT_FOUND, "sink not found"));
    }
    let page = state
        .console
        .findings
        .dead(&name, super::findings::place(query.cursor)?, limit);
    Ok(Json(List::of(page.await?, identity)))
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SentAgain {
    event: Uuid,
}

/// Queues a dead letter for redelivery; accepted, it leaves the list
#[utoipa::path(
    post,
    path = "/api/sinks/{name}/dead/{event}",
    tag = "sinks",
    params(
        ("name" = String, Path, description = "Name of the sink, as in `watchtower.toml`"),
        ("event" = Uuid, Path, description = "Id of the dead letter"),
    ),
    responses(
        (status = 202, description = "Queued for delivery", body = SentAgain),
        (status = 404, description = "Sink or dead letter not found, or its event was removed by retention", body = Problem, content_type = "application/problem+json"),
        Failed,
    )
)]
pub(crate) async fn send_again(
    State(state): State<AppState>,
    path: Result<Path<(String, Uuid)>, PathRejection>,
) -> Result<(StatusCode, Json<SentAgain>), Problem> {
    let Path((name, event)) = path?;
    let rows = state.console.sink_board.list();
    let there = rows.iter().any(|row| row.name == name)
        && state
            .console
            .findings
            .dead_letter(&name, event)
            .await?
            .is_some();
    if !there {
        let why = "dead letter not found, or its event is no longer retained";
        return Err(Problem::new(StatusCode::NOT_FOUND, why));
    }
    state.console.sink_board.send_again(&name, event);
    Ok((StatusCode::ACCEPTED, Json(SentAgain { event })))
}
