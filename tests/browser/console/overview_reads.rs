//! Requests of the counts of incidents, for the test of the API's description.

/// Requests of the counts behind the list, valid and invalid: path, and query.
pub(crate) fn overview_reads(id: &str, missing: &str) -> Vec<(&'static str, String)> {
    let range = "from=2026-01-01T00:00:00Z&to=2099-01-01T00:00:00Z";
    vec![
        (
            "/api/incidents/facets",
            "?status=new&owner=&from=2026-01-01T00:00:00Z".to_owned(),
        ),
        ("/api/incidents/facets", "?severities=dire".to_owned()),
        ("/api/incidents/histogram", "?buckets=7".to_owned()),
        ("/api/incidents/histogram", "?buckets=0".to_owned()),
        ("/api/incidents/lanes", format!("?{range}")),
        ("/api/incidents/lanes", String::new()),
        ("/api/incidents/groups", "?by=subject&limit=3".to_owned()),
        ("/api/incidents/groups", "?by=luck".to_owned()),
        (
            "/api/incidents/activity",
            format!("?ids={id},{missing}&{range}"),
        ),
        ("/api/incidents/activity", format!("?ids=x&{range}")),
    ]
}
