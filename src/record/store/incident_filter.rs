//! Conditions of the queries of incidents.

use rusqlite::types::Value;

use watchtower_domain::finding::Category;

use super::{IncidentQuery, Snoozed};
use crate::store::sql;

/// Property of incidents that they are filtered and counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Facet {
    Severity,
    Status,
    Stream,
    Agent,
    Owner,
}

/// Condition of a statement, and the values of its parameters.
#[derive(Debug)]
pub(super) struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    /// Conditions of a query, without those on one facet; `first` are the values
    /// of the statement's first parameters.
    pub(super) fn of(query: &IncidentQuery, without: Option<Facet>, first: Vec<Value>) -> Self {
        let mut all = Self {
            sql: String::from("1 = 1"),
            values: first,
        };
        let facet = |facet| without != Some(facet);
        let is = |given: &Option<String>, facet_counts: bool| {
            given.clone().filter(|_| facet_counts).map(Value::Text)
        };
        if let Some(stream) = is(&query.stream, facet(Facet::Stream)) {
            all.compare("stream =", stream);
        }
        if let Some(agent) = query.agent.as_ref().filter(|_| facet(Facet::Agent)) {
            let name = all.bind(Value::Text(sql::to_json(agent).to_lowercase()));
            all.and(&format!("instr(lower(agents), {name}) > 0"));
        }
        match is(&query.owner, facet(Facet::Owner)) {
            Some(Value::Text(nobody)) if nobody.is_empty() => all.and("owner IS NULL"),
            Some(owner) => all.compare("owner =", owner),
            None => {}
        }
        if let Some(subject) = is(&query.subject, true) {
            all.compare("subject =", subject);
        }
        if facet(Facet::Severity) {
            if let Some(severity) = query.severity {
                all.compare("severity >=", Value::Integer(sql::badness(severity)));
            }
            if let Some(settled) = query.settled {
                all.compare("settled >=", Value::Integer(sql::badness(settled)));
            }
            let levels = query.severities.iter().map(|one| sql::badness(*one));
            let levels: Vec<_> = levels.map(|level| level.to_string()).collect();
            all.any_of("settled", &levels);
        }
        if facet(Facet::Status) {
            let codes = query.status.iter().map(|status| sql::code(*status));
            let codes: Vec<_> = codes.map(|code| code.to_string()).collect();
            all.any_of("status", &codes);
        }
        // Names of a closed set need no quoting.
        let categories = query.category.iter().map(|one| Category::as_str(*one));
        let categories: Vec<_> = categories.map(|name| format!("'{name}'")).collect();
        all.any_of("category", &categories);
        for (column, time) in [
            ("last_seen >=", query.since),
            ("first_seen <", query.until),
            ("first_seen >=", query.from),
            ("first_seen <", query.to),
        ] {
            if let Some(time) = time {
                all.compare(column, Value::Integer(sql::nanos(time)));
            }
        }
        if let Some(Snoozed { is, at }) = query.snoozed {
            let is = if is { ">" } else { "<=" };
            let column = format!("coalesce(snoozed_until, 0) {is}");
            all.compare(&column, Value::Integer(sql::nanos(at)));
        }
        all
    }

    /// Adds a value; returns its parameter.
    pub(super) fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    pub(super) fn and(&mut self, condition: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
    }

    fn compare(&mut self, column: &str, value: Value) {
        let parameter = self.bind(value);
        self.and(&format!("{column} {parameter}"));
    }

    fn any_of(&mut self, column: &str, values: &[String]) {
        if !values.is_empty() {
            self.and(&format!("{column} IN ({})", values.join(", ")));
        }
    }

    /// Condition, and the values of all parameters.
    pub(super) fn parts(self) -> (String, Vec<Value>) {
        (self.sql, self.values)
    }
}
