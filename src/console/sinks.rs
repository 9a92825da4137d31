//! How findings get where the team works.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::AppState;
use super::api::{List, page_size};
use super::problem::Problem;
use crate::deliveries::Delivery;
use crate::store::Buried;

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    delivery: Delivery,
    /// Events it has not dealt with yet.
    behind: u64,
}

pub(super) async fn list(State(state): State<AppState>) -> Result<Json<List<Shown>>, Problem> {
    let last = state.views.findings.last_happened().await?;
    let items = state.views.deliveries.list().into_iter();
    let items = items.map(|delivery| Shown {
        behind: last.saturating_sub(delivery.told),
        delivery,
    });
    Ok(Json(List {
        items: items.collect(),
        next: None,
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadQuery {
    cursor: Option<u64>,
    limit: Option<usize>,
}

/// What the other side of one has refused for good, newest first.
pub(super) async fn dead(
    State(state): State<AppState>,
    Path(name): Path<String>,
    query: Result<Query<DeadQuery>, QueryRejection>,
) -> Result<Json<List<Buried>>, Problem> {
    let Query(query) = query?;
    let limit = page_size(query.limit)?;
    let rows = state.views.deliveries.list();
    if !rows.iter().any(|row| row.name == name) {
        return Err(Problem::new(StatusCode::NOT_FOUND, "there is no such sink"));
    }
    let page = state.views.findings.dead(&name, query.cursor, limit);
    Ok(Json(page.await?.into()))
}
