//! List responses and their paging.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use watchtower_record::store::Page;

use super::problem::Problem;

const PAGE: usize = 50;
const LARGEST_PAGE: usize = 1000;

/// Page of a list, newest first, with the cursor of the next page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    pub(crate) items: Vec<T>,
    /// Value of `cursor` for the next page; null on the last.
    pub(crate) next: Option<String>,
}

impl<T> List<T> {
    /// List without pages.
    pub(crate) fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }

    /// Page in the order of its items' positions.
    pub(crate) fn of<U>(page: Page<U, u64>, show: impl FnMut(U) -> T) -> Self {
        Self {
            items: page.items.into_iter().map(show).collect(),
            next: page.next.map(|place| place.to_string()),
        }
    }
}

pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

pub(crate) fn page_size(requested: Option<usize>) -> Result<usize, Problem> {
    let limit = requested.unwrap_or(PAGE);
    if (1..=LARGEST_PAGE).contains(&limit) {
        Ok(limit)
    } else {
        let detail = format!("limit must be from 1 to {LARGEST_PAGE}, got {limit}");
        Err(bad_request(detail))
    }
}
