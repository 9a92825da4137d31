//! ListOrder of the list of incidents, and positions in it as clients see them.

use watchtower_record::store::{IncidentCursor, Sort};

use crate::http::list::bad_request;
use crate::http::problem::Problem;

/// Sorts by name, with the letter of their cursors.
const SORTS: [(&str, Sort, char); 9] = [
    ("last_seen", Sort::LastSeen, 'l'),
    ("first_seen", Sort::FirstSeen, 'f'),
    ("severity", Sort::Severity, 's'),
    // By the panel.
    ("settled_severity", Sort::Settled, 'p'),
    ("count", Sort::Count, 'c'),
    ("title", Sort::Title, 't'),
    ("subject", Sort::Subject, 'u'),
    ("stream", Sort::Stream, 'w'),
    ("owner", Sort::Owner, 'o'),
];

#[derive(Debug, Clone, Copy)]
pub(super) struct ListOrder {
    pub(super) sort: Sort,
    pub(super) ascending: bool,
    letter: char,
}

impl ListOrder {
    pub(super) fn of(sort: Option<&str>, order: Option<&str>) -> Result<Self, Problem> {
        let wanted = sort.unwrap_or("last_seen");
        let Some(&(_, sort, letter)) = SORTS.iter().find(|(name, ..)| *name == wanted) else {
            let known = SORTS.map(|(name, ..)| name).join(", ");
            return Err(bad_request(format!(
                "sort must be one of {known}, got {wanted:?}"
            )));
        };
        let is_text = is_text(sort);
        let ascending = match order {
            None => is_text,
            Some("asc") => true,
            Some("desc") => false,
            Some(other) => {
                return Err(bad_request(format!(
                    "order must be asc or desc, got {other:?}"
                )));
            }
        };
        // Cursors of the other direction are told apart by the letter's case.
        let usual = ascending == is_text;
        Ok(Self {
            sort,
            ascending,
            letter: if usual {
                letter
            } else {
                letter.to_ascii_uppercase()
            },
        })
    }

    pub(super) fn cursor(self, place: &IncidentCursor) -> String {
        let first = if is_text(self.sort) {
            hex::encode(&place.text)
        } else {
            place.severity.to_string()
        };
        format!("{}{first}_{}_{}", self.letter, place.key, place.seq)
    }

    /// Position of a cursor; `None` if it is of no page in this order.
    pub(super) fn place(self, cursor: &str) -> Option<IncidentCursor> {
        let mut parts = cursor.strip_prefix(self.letter)?.splitn(3, '_');
        let first = parts.next()?;
        let (severity, text) = if is_text(self.sort) {
            (0, String::from_utf8(hex::decode(first).ok()?).ok()?)
        } else {
            (first.parse().ok()?, String::new())
        };
        let mut number = || parts.next()?.parse().ok();
        Some(IncidentCursor {
            severity,
            key: number()?,
            seq: number()?,
            text,
        })
    }
}

const fn is_text(sort: Sort) -> bool {
    matches!(
        sort,
        Sort::Title | Sort::Subject | Sort::Stream | Sort::Owner
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(sort: &str, order: Option<&str>) -> ListOrder {
        ListOrder::of(Some(sort), order).unwrap()
    }

    #[test]
    fn cursor_belongs_to_its_sort_and_order() {
        let here = IncidentCursor {
            severity: 4,
            key: -17,
            seq: 9,
            text: String::new(),
        };
        let severity = order("severity", None);
        let text = severity.cursor(&here);
        assert_eq!(severity.place(&text), Some(here.clone()));
        assert_eq!(order("severity", Some("desc")).place(&text), Some(here));
        assert_eq!(order("severity", Some("asc")).place(&text), None);
        assert_eq!(order("count", None).place(&text), None);
        for broken in ["", "s", "s4", "s4_1", "s4_1_x", "s4_1_2_3"] {
            assert_eq!(severity.place(broken), None, "{broken}");
        }
    }

    #[test]
    fn cursor_of_a_text_carries_it() {
        for text in ["", "Größe_1: 5 %", "login <b>"] {
            let here = IncidentCursor {
                severity: 0,
                key: 17,
                seq: 9,
                text: text.to_owned(),
            };
            let title = order("title", None);
            assert!(title.ascending);
            let cursor = title.cursor(&here);
            assert_eq!(title.place(&cursor), Some(here), "{cursor}");
            assert_eq!(order("title", Some("desc")).place(&cursor), None);
            assert_eq!(order("owner", None).place(&cursor), None);
        }
        for broken in ["t", "t6_1_2", "tzz_1_2", "tff_1_2", "t61_1"] {
            assert_eq!(order("title", None).place(broken), None, "{broken}");
        }
    }

    #[test]
    fn unknown_sort_and_order_are_named() {
        let detail =
            |problem: Problem| serde_json::to_value(problem).unwrap()["detail"].to_string();
        let unknown = detail(ListOrder::of(Some("age"), None).unwrap_err());
        assert!(
            unknown.contains("age") && unknown.contains("settled_severity"),
            "{unknown}"
        );
        let unknown = detail(ListOrder::of(None, Some("up")).unwrap_err());
        assert!(unknown.contains("up") && unknown.contains("asc or desc"));
    }
}
