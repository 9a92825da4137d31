//! Filter of incidents in the query of a URL, shared by their list and counts.

use axum::extract::{FromRequestParts, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use watchtower_domain::finding::{Category, Severity};
use watchtower_domain::incident::Status;
use watchtower_record::store::{IncidentQuery, Snoozed};

use crate::http::list::bad_request;
use crate::http::problem::Problem;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FilterParams {
    /// Any of new, acknowledged, closed, with commas between them; all unless given.
    #[param(pattern = "^(new|acknowledged|closed)?(,(new|acknowledged|closed)?)*$")]
    status: Option<String>,
    /// Any categories, with commas between them.
    category: Option<String>,
    stream: Option<String>,
    agent: Option<String>,
    /// Owner; empty: those without one.
    owner: Option<String>,
    /// Host, user, resource, address, rule or CVE it is about; empty: those without one.
    subject: Option<String>,
    /// True: only those snoozed now; false: only the others; all unless given.
    snoozed: Option<bool>,
    /// Minimum severity.
    severity: Option<Severity>,
    /// Minimum severity as settled by the panel.
    settled_severity: Option<Severity>,
    /// Any of critical, high, medium, low, info, with commas between them; as
    /// settled by the panel.
    #[param(pattern = "^(critical|high|medium|low|info)?(,(critical|high|medium|low|info)?)*$")]
    severities: Option<String>,
    /// Seen at or after (RFC 3339).
    since: Option<Timestamp>,
    /// First seen before (RFC 3339).
    until: Option<Timestamp>,
    /// First seen at or after (RFC 3339).
    from: Option<Timestamp>,
    /// First seen before (RFC 3339), and after `from`.
    to: Option<Timestamp>,
}

/// Names of its parameters.
const NAMES: [&str; 14] = [
    "status",
    "category",
    "stream",
    "agent",
    "owner",
    "subject",
    "snoozed",
    "severity",
    "settled_severity",
    "severities",
    "since",
    "until",
    "from",
    "to",
];

impl FilterParams {
    fn query(self) -> Result<IncidentQuery, Problem> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && to <= from
        {
            let detail = format!("to must be after from ({from}), got {to}");
            return Err(bad_request(detail));
        }
        let list = Option::as_deref;
        Ok(IncidentQuery {
            status: any_of("status", list(&self.status), &Status::ALL, Status::as_str)?,
            category: any_of(
                "category",
                list(&self.category),
                &Category::ALL,
                Category::as_str,
            )?,
            severities: any_of(
                "severities",
                list(&self.severities),
                &Severity::ALL,
                Severity::as_str,
            )?,
            stream: self.stream,
            agent: self.agent,
            owner: self.owner,
            subject: self.subject,
            snoozed: self.snoozed.map(|is| Snoozed {
                is,
                at: Timestamp::now(),
            }),
            severity: self.severity,
            settled: self.settled_severity,
            since: self.since,
            until: self.until,
            from: self.from,
            to: self.to,
            ..IncidentQuery::default()
        })
    }
}

fn any_of<T: Copy>(
    key: &str,
    given: Option<&str>,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<Vec<T>, Problem> {
    let given = given
        .unwrap_or_default()
        .split(',')
        .filter(|word| !word.is_empty());
    let known = |word: &str| {
        let found = all.iter().copied().find(|one| name(*one) == word);
        found.ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|one| name(*one)).collect();
            bad_request(format!(
                "{key} must be any of {}, got {word:?}",
                names.join(", ")
            ))
        })
    };
    given.map(known).collect()
}

/// Filter of incidents, and the other parameters of a request.
///
/// Serde can't flatten one struct into another and refuse unknown names too.
#[derive(Debug)]
pub(crate) struct Filtered<T>(pub(crate) IncidentQuery, pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Filtered<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pairs = parts.uri.query().unwrap_or_default().split('&');
        let is_filter = |pair: &&str| {
            let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
            NAMES.contains(&name)
        };
        let (filter, rest): (Vec<_>, Vec<_>) = pairs.partition(is_filter);
        let filter: FilterParams = read(&filter)?;
        Ok(Self(filter.query()?, read(&rest)?))
    }
}

fn read<T: DeserializeOwned>(pairs: &[&str]) -> Result<T, Problem> {
    let query = format!("/?{}", pairs.join("&"));
    let uri: Uri = query
        .parse()
        .map_err(|error| bad_request(format!("invalid query {query:?}: {error}")))?;
    let Query(read) = Query::try_from_uri(&uri)?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Other {
        limit: Option<usize>,
    }

    async fn parsed(query: &str) -> Result<Filtered<Other>, String> {
        let request = Request::get(format!("/api/incidents?{query}")).body(());
        let (mut parts, ()) = request.unwrap().into_parts();
        let found = Filtered::from_request_parts(&mut parts, &()).await;
        found.map_err(|problem| format!("{problem:?}"))
    }

    #[tokio::test]
    async fn filter_and_other_parameters_are_told_apart() {
        let query = "limit=7&severities=critical,low&stream=a%26b&owner=&from=2026-01-01T00:00:00Z";
        let Filtered(filter, other) = parsed(query).await.unwrap();
        assert_eq!(other, Other { limit: Some(7) });
        assert_eq!(filter.severities, [Severity::Critical, Severity::Low]);
        assert_eq!(filter.stream.as_deref(), Some("a&b"));
        assert_eq!(filter.owner.as_deref(), Some(""));
        assert_eq!(filter.from, "2026-01-01T00:00:00Z".parse().ok());
        assert_eq!(filter.to, None);
    }

    #[tokio::test]
    async fn bad_values_are_named() {
        for (query, named) in [
            ("severities=high,dire", "dire"),
            ("severity=dire", "dire"),
            ("status=old", "old"),
            ("colour=red", "colour"),
            ("limit=many", "limit"),
            ("from=yesterday", "from"),
            (
                "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
                "2026-01-01T00:00:00Z",
            ),
            (
                "from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z",
                "to must be after from",
            ),
        ] {
            let error = parsed(query).await.unwrap_err();
            assert!(error.contains(named), "{query}: {error}");
        }
    }

    #[test]
    fn every_parameter_is_known_by_its_name() {
        let described = FilterParams::into_params(|| None);
        let described: Vec<_> = described.into_iter().map(|one| one.name).collect();
        assert_eq!(described, NAMES);
    }
}
