//! Counts of incidents for lists and charts: facets, histogram, lanes, groups,
//! and the activity of some.

use std::ops::RangeInclusive;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use watchtower_record::store::{
    GroupKey, IncidentActivity, IncidentFacets, IncidentGroups, IncidentHistogram, IncidentQuery,
    LaneMark, TimeBuckets,
};

use super::incident_filter::{FilterParams, Filtered};
use crate::AppState;
use crate::http::list::{List, bad_request, page_size};
use crate::http::problem::{Failed, Problem};

/// Steps of a range: no chart has more columns that can be told apart.
const STEPS: RangeInclusive<u32> = 1..=200;
const USUAL_STEPS: u32 = 60;
/// Steps of a sparkline.
const USUAL_SPARKS: u32 = 20;
/// Incidents whose activity is requested at once: more than rows on a screen.
const MOST_IDS: usize = 100;

fn steps(given: Option<u32>, usual: u32) -> Result<u32, Problem> {
    let count = given.unwrap_or(usual);
    if STEPS.contains(&count) {
        return Ok(count);
    }
    let (least, most) = (STEPS.start(), STEPS.end());
    let detail = format!("buckets must be from {least} to {most}, got {count}");
    Err(bad_request(detail))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParams {}

/// Incidents by severity, status, stream, analyst and owner
///
/// Each facet counts what matches the filters on the other ones.
#[utoipa::path(get, path = "/api/incidents/facets", tag = "incidents", params(FilterParams), responses((status = 200, body = IncidentFacets), Failed))]
pub(crate) async fn facets(
    State(state): State<AppState>,
    Filtered(filter, NoParams {}): Filtered<NoParams>,
) -> Result<Json<IncidentFacets>, Problem> {
    let findings = &state.console.findings;
    let facets = findings.read(move |store| store.incident_facets(&filter));
    Ok(Json(facets.await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistogramParams {
    /// Number of steps, 1 to 200; 60 by default.
    #[param(minimum = 1, maximum = 200)]
    buckets: Option<u32>,
}

/// Incidents by severity and the time first seen
///
/// From `from`, by default the first one, to `to`, by default now.
#[utoipa::path(get, path = "/api/incidents/histogram", tag = "incidents", params(FilterParams, HistogramParams), responses((status = 200, body = IncidentHistogram), Failed))]
pub(crate) async fn histogram(
    State(state): State<AppState>,
    Filtered(filter, query): Filtered<HistogramParams>,
) -> Result<Json<IncidentHistogram>, Problem> {
    let count = steps(query.buckets, USUAL_STEPS)?;
    let now = Timestamp::now();
    if let Some(from) = filter
        .from
        .filter(|from| filter.to.is_none() && *from >= now)
    {
        let detail = format!("from must be in the past without to, got {from}");
        return Err(bad_request(detail));
    }
    let findings = &state.console.findings;
    let histogram = findings.read(move |store| store.incident_histogram(&filter, count, now));
    Ok(Json(histogram.await?))
}

/// Incidents of each stream over time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LanesShown {
    /// Marks, by stream and time.
    items: Vec<LaneMark>,
    /// True if there are more than 2000, of which the first streams are shown.
    more: bool,
}

/// Incidents by stream and the time first seen, those of a step as one mark
#[utoipa::path(get, path = "/api/incidents/lanes", tag = "incidents", params(FilterParams, HistogramParams), responses((status = 200, body = LanesShown), Failed))]
pub(crate) async fn lanes(
    State(state): State<AppState>,
    Filtered(filter, query): Filtered<HistogramParams>,
) -> Result<Json<LanesShown>, Problem> {
    let (Some(from), Some(to)) = (filter.from, filter.to) else {
        return Err(bad_request("from and to are required"));
    };
    let count = steps(query.buckets, USUAL_STEPS)?;
    let range = TimeBuckets::new(from, to, count);
    let findings = &state.console.findings;
    let lanes = findings.read(move |store| store.incident_lanes(&filter, range));
    let (items, more) = lanes.await?;
    Ok(Json(LanesShown { items, more }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GroupsParams {
    /// stream or subject.
    #[param(min_length = 1, pattern = "^(stream|subject)$")]
    by: String,
    /// Groups, 1 to 1000; 50 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Incidents by stream or subject, the worst first
#[utoipa::path(get, path = "/api/incidents/groups", tag = "incidents", params(FilterParams, GroupsParams), responses((status = 200, body = IncidentGroups), Failed))]
pub(crate) async fn groups(
    State(state): State<AppState>,
    Filtered(filter, query): Filtered<GroupsParams>,
) -> Result<Json<IncidentGroups>, Problem> {
    let by = match query.by.as_str() {
        "stream" => GroupKey::Stream,
        "subject" => GroupKey::Subject,
        other => {
            let detail = format!("by must be stream or subject, got {other:?}");
            return Err(bad_request(detail));
        }
    };
    let filter = IncidentQuery {
        limit: page_size(query.limit)?,
        ..filter
    };
    let findings = &state.console.findings;
    let groups = findings.read(move |store| store.incident_groups(&filter, by));
    Ok(Json(groups.await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ActivityParams {
    /// Ids of incidents, with commas between them, 1 to 100.
    #[param(min_length = 1)]
    ids: String,
    /// At or after (RFC 3339).
    from: Timestamp,
    /// Before (RFC 3339), and after `from`.
    to: Timestamp,
    /// Number of steps, 1 to 200; 20 by default.
    #[param(minimum = 1, maximum = 200)]
    buckets: Option<u32>,
}

/// Findings of an incident over time, and its picture.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActivityShown {
    incident: Uuid,
    /// Findings stored in each step, the earliest first.
    findings: Vec<u64>,
    /// Where the still of its peak, or else of its first moment, is served.
    still: Option<String>,
}

impl From<IncidentActivity> for ActivityShown {
    fn from(activity: IncidentActivity) -> Self {
        let still = activity.still;
        Self {
            incident: activity.incident,
            findings: activity.findings,
            still: still.map(|sha256| format!("/api/evidence/{sha256}.jpg")),
        }
    }
}

/// Findings of some incidents over time, and their pictures
#[utoipa::path(get, path = "/api/incidents/activity", tag = "incidents", params(ActivityParams), responses((status = 200, body = List<ActivityShown>), Failed))]
pub(crate) async fn activity(
    State(state): State<AppState>,
    query: Result<Query<ActivityParams>, QueryRejection>,
) -> Result<Json<List<ActivityShown>>, Problem> {
    let Query(query) = query?;
    let ids = ids(&query.ids)?;
    let (from, to) = (query.from, query.to);
    if to <= from {
        let detail = format!("to must be after from ({from}), got {to}");
        return Err(bad_request(detail));
    }
    let count = steps(query.buckets, USUAL_SPARKS)?;
    let range = TimeBuckets::new(from, to, count);
    let findings = &state.console.findings;
    let found = findings.read(move |store| store.incident_activity(&ids, range));
    let shown = found.await?.into_iter().map(ActivityShown::from);
    Ok(Json(List::whole(shown.collect())))
}

fn ids(given: &str) -> Result<Vec<Uuid>, Problem> {
    let words = given.split(',').filter(|word| !word.is_empty());
    let ids: Vec<Uuid> = words
        .map(|word| {
            let wrong = |_| bad_request(format!("ids must be UUIDs, got {word:?}"));
            word.parse().map_err(wrong)
        })
        .collect::<Result<_, _>>()?;
    if (1..=MOST_IDS).contains(&ids.len()) {
        return Ok(ids);
    }
    let detail = format!("ids must be 1 to {MOST_IDS}, got {}", ids.len());
    Err(bad_request(detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_steps_out_of_range_are_refused() {
        let id = "0198c0de-0000-7000-8000-000000000001";
        assert_eq!(ids(&format!("{id},,{id}")).unwrap().len(), 2);
        let many = vec![id; MOST_IDS + 1].join(",");
        for (given, named) in [
            ("", "got 0"),
            ("x", "\\\"x\\\""),
            (many.as_str(), "got 101"),
        ] {
            let problem = format!("{:?}", ids(given).unwrap_err());
            assert!(problem.contains(named), "{problem}");
        }
        assert_eq!(steps(None, 60).unwrap(), 60);
        for wrong in [0, 201] {
            let problem = format!("{:?}", steps(Some(wrong), 60).unwrap_err());
            assert!(problem.contains(&format!("got {wrong}")), "{problem}");
        }
    }
}
