//! `/api/series`: numbers of the screens over time.

use std::ops::RangeInclusive;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use watchtower_domain::series::Unit;
use watchtower_record::store::{
    Page, Readers, SampleQuery, SeriesInfo, SeriesPoint, SeriesQuery, StoreError,
};

use crate::AppState;
use crate::http::list::{List, bad_request, page_size};
use crate::http::problem::{Failed, Problem};

/// Maximum steps of an answer; a chart has fewer pixels.
const MOST_STEPS: i64 = 2000;
/// Steps of an answer without `step`.
const STEPS: i64 = 240;
/// Range of `step` in seconds.
const STEP: RangeInclusive<u32> = 1..=86_400;
/// Maximum length of a part of a label, in characters.
const LONGEST_LABEL: usize = 200;
/// Longest time of an answer: hours are kept that long.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);
/// Steps of `recent`, and their length in seconds: the last hour.
const RECENT: (usize, u32) = (24, 150);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SeriesListQuery {
    stream: Option<String>,
    /// Part of the label, whatever its case.
    #[param(max_length = 200)]
    label: Option<String>,
    /// `next` of the previous page.
    #[param(pattern = "^[0-9]{1,18}$")]
    cursor: Option<String>,
    /// Items of a page, 1 to 1000; 50 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Number of a screen over time: its place, label and last value.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesShown {
    id: u64,
    stream: String,
    /// Element of the screen, such as `card` or `table Services`.
    place: String,
    label: String,
    /// Base unit of all values: `240 ms` is 0.24 seconds.
    unit: Unit,
    first_seen: Timestamp,
    last_seen: Timestamp,
    /// Last value.
    value: f64,
    /// Mean of each 150 s of the last hour, oldest first; null where the number
    /// was not on the screen.
    recent: Vec<Option<f64>>,
}

/// Series of the screens, the one that began last first
#[utoipa::path(get, path = "/api/series", tag = "series", params(SeriesListQuery), responses((status = 200, body = List<SeriesShown>), Failed))]
pub(crate) async fn series(
    State(state): State<AppState>,
    query: Result<Query<SeriesListQuery>, QueryRejection>,
) -> Result<Json<List<SeriesShown>>, Problem> {
    let Query(query) = query?;
    let before = match query.cursor.as_deref().map(str::parse) {
        None => None,
        Some(Ok(before)) => Some(before),
        Some(Err(_)) => return Err(bad_request("cursor must be `next` of the previous page")),
    };
    let length = query
        .label
        .as_deref()
        .map_or(0, |label| label.chars().count());
    if length > LONGEST_LABEL {
        let detail = format!("label must have {LONGEST_LABEL} characters at most, got {length}");
        return Err(bad_request(detail));
    }
    let filter = SeriesQuery {
        stream: query.stream,
        label: query.label,
        before,
        limit: page_size(query.limit)?,
    };
    let now = Timestamp::now();
    let page = state.console.findings.read(move |store| {
        let Page { items, next } = store.series(&filter)?;
        let items = items.into_iter().map(|info| shown(store, info, now));
        let items = items.collect::<Result<Vec<_>, StoreError>>()?;
        Ok(Page { items, next })
    });
    Ok(Json(List::of(page.await?, |shown| shown)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SamplesQuery {
    /// At or after (RFC 3339); an hour before `until` by default.
    since: Option<Timestamp>,
    /// Before (RFC 3339), and at most 366 days after `since`; now by default.
    until: Option<Timestamp>,
    /// Length of a step in seconds, 1 to 86400, at most 2000 steps; by default
    /// for 240 steps.
    #[param(minimum = 1, maximum = 86400)]
    step: Option<u32>,
}

/// Values of one series by steps.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SamplesShown {
    series: SeriesShown,
    since: Timestamp,
    until: Timestamp,
    /// Length of a step in seconds.
    step: u32,
    /// Every step of the time, oldest first.
    items: Vec<SampleStep>,
}

/// Values within one step; null in a gap, when the number was not on the
/// screen or the stream was not live.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
struct SampleStep {
    /// Begin of the step.
    at: Timestamp,
    /// Mean by the time that each value was there.
    mean: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
}

/// Values of a series over time
///
/// Each change is kept for a day, minutes for 92 days, hours for 366 days.
#[utoipa::path(
    get,
    path = "/api/series/{id}",
    tag = "series",
    params(("id" = u64, Path, description = "Id of the series"), SamplesQuery),
    responses(
        (status = 200, body = SamplesShown),
        (status = 404, description = "Series not found", body = Problem, content_type = "application/problem+json"),
        Failed,
    )
)]
pub(crate) async fn samples(
    State(state): State<AppState>,
    id: Result<Path<u64>, PathRejection>,
    query: Result<Query<SamplesQuery>, QueryRejection>,
) -> Result<Json<SamplesShown>, Problem> {
    let Path(id) = id.map_err(|_| bad_request("series not found: the id must be a number"))?;
    let id = Some(id)
        .filter(|id| i64::try_from(*id).is_ok())
        .ok_or_else(not_found)?;
    let Query(query) = query?;
    let now = Timestamp::now();
    let (since, until, step) = time(&query, now)?;
    let found = state.console.findings.read(move |store| {
        let Some(info) = store.one_series(id)? else {
            return Ok(None);
        };
        let points = store.samples(&SampleQuery {
            series: id,
            from: since,
            until,
            step,
        })?;
        Ok(Some((shown(store, info, now)?, points)))
    });
    let (series, points) = found.await?.ok_or_else(not_found)?;
    Ok(Json(SamplesShown {
        series,
        since,
        until,
        step,
        items: steps(&points, since, until, step),
    }))
}

fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "series not found")
}

/// Time and step of a query, within their bounds.
fn time(query: &SamplesQuery, now: Timestamp) -> Result<(Timestamp, Timestamp, u32), Problem> {
    let until = query.until.unwrap_or(now);
    let hour_before = || until.checked_sub(SignedDuration::from_hours(1));
    let since = query.since.map_or_else(hour_before, Ok);
    let since = since.map_err(|_| bad_request("until is too early"))?;
    let length = until.duration_since(since);
    if length <= SignedDuration::ZERO || length > LONGEST {
        let detail =
            format!("since must be before until, by 366 days at most, got {since} and {until}");
        return Err(bad_request(detail));
    }
    let seconds = (length.as_millis() as i64 + 999) / 1000;
    let step = match query.step {
        Some(step) if STEP.contains(&step) => step,
        Some(step) => {
            let (least, most) = (STEP.start(), STEP.end());
            let detail = format!("step must be from {least} to {most} seconds, got {step}");
            return Err(bad_request(detail));
        }
        None => (seconds / STEPS).clamp(1, i64::from(*STEP.end())) as u32,
    };
    let count = seconds / i64::from(step);
    if count > MOST_STEPS {
        let detail = format!("step must be longer: {count} steps, maximum {MOST_STEPS}");
        return Err(bad_request(detail));
    }
    Ok((since, until, step))
}

/// All steps of a time; those without a point are gaps.
fn steps(points: &[SeriesPoint], since: Timestamp, until: Timestamp, step: u32) -> Vec<SampleStep> {
    let length = SignedDuration::from_secs(i64::from(step));
    let mut points = points.iter().peekable();
    let mut steps = Vec::new();
    let mut at = since;
    while at < until {
        let end = at.checked_add(length).unwrap_or(until).max(at);
        let point = points.next_if(|point| point.from < end);
        steps.push(SampleStep {
            at,
            mean: point.map(|point| point.mean),
            min: point.map(|point| point.low),
            max: point.map(|point| point.high),
        });
        if end == at {
            break;
        }
        at = end;
    }
    steps
}

fn shown(store: &Readers, info: SeriesInfo, now: Timestamp) -> Result<SeriesShown, StoreError> {
    let (count, step) = RECENT;
    let length = SignedDuration::from_secs(count as i64 * i64::from(step));
    let since = now - length;
    let recent = match info.last_seen < since {
        true => vec![None; count],
        false => {
            let points = store.samples(&SampleQuery {
                series: info.id,
                from: since,
                until: now,
                step,
            })?;
            let all = steps(&points, since, now, step);
            all.into_iter().map(|step| step.mean).collect()
        }
    };
    Ok(SeriesShown {
        id: info.id,
        stream: info.name.stream.to_string(),
        place: info.name.place,
        label: info.name.label,
        unit: info.name.unit,
        first_seen: info.first_seen,
        last_seen: info.last_seen,
        value: info.value,
        recent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(nth: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + nth).expect("a time")
    }

    #[test]
    fn a_step_without_a_value_is_null() {
        let point = |from: i64, mean: f64| SeriesPoint {
            from: second(from),
            to: second(from + 5),
            mean,
            low: mean - 1.0,
            high: mean + 1.0,
        };
        let steps = steps(&[point(0, 3.0), point(25, 4.0)], second(0), second(40), 10);
        let shown: Vec<_> = steps
            .iter()
            .map(|step| (step.at, step.mean, step.max))
            .collect();
        assert_eq!(
            shown,
            [
                (second(0), Some(3.0), Some(4.0)),
                (second(10), None, None),
                (second(20), Some(4.0), Some(5.0)),
                (second(30), None, None)
            ]
        );
    }

    #[test]
    fn times_and_steps_have_bounds() {
        let ask = |since: Option<i64>, until: Option<i64>, step: Option<u32>| {
            let query = SamplesQuery {
                since: since.map(second),
                until: until.map(second),
                step,
            };
            time(&query, second(0)).ok()
        };
        assert_eq!(ask(None, None, None), Some((second(-3600), second(0), 15)));
        let day = Some((second(-86_400), second(0), 360));
        assert_eq!(ask(Some(-86_400), None, None), day);
        assert_eq!(
            ask(Some(0), Some(100), Some(10)),
            Some((second(0), second(100), 10))
        );
        assert_eq!(ask(Some(100), Some(0), None), None);
        assert_eq!(ask(Some(0), Some(0), None), None);
        assert_eq!(ask(Some(0), Some(100), Some(0)), None);
        assert_eq!(ask(Some(0), Some(100), Some(86_401)), None);
        assert_eq!(ask(Some(0), Some(10_000), Some(1)), None);
        assert_eq!(ask(Some(0), Some(367 * 86_400), None), None);
        assert_eq!(ask(Some(0), Some(10), None).map(|(.., step)| step), Some(1));
    }
}
