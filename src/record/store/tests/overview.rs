//! Counts of incidents, on six incidents of two streams within an hour.

use watchtower_domain::finding::Category;

use super::*;

const HOUR: i64 = 3600;

/// Minute, stream, agent, severity and quote of each.
const SIX: [(i64, &str, &str, Severity, &str); 6] = [
    (
        0,
        "team",
        "SecOps",
        Severity::Low,
        "user anna failed on host web-01",
    ),
    (
        1,
        "team",
        "SecOps",
        Severity::Critical,
        "Failed password for root from 192.0.2.7",
    ),
    (
        2,
        "team",
        "DevOps",
        Severity::High,
        "OOMKilled pod billing on host web-02",
    ),
    (
        30,
        "demo",
        "SecOps",
        Severity::High,
        "s3://fernhill-exports allows public read",
    ),
    (
        59,
        "demo",
        "DevOps",
        Severity::Critical,
        "disk of host db-04 is full",
    ),
    (
        59,
        "team",
        "CloudSec",
        Severity::Medium,
        "MFA is missing for 40 people",
    ),
];

fn minute(minute: i64) -> Timestamp {
    Timestamp::from_second(minute * 60).unwrap()
}

fn six(dir: &Path) -> (StoreWriter, Readers) {
    let (mut writer, readers) = open_at(dir);
    let mut jobs: Vec<_> = SIX
        .into_iter()
        .enumerate()
        .map(|(nth, (at, stream, agent, severity, quote))| {
            let evidence = Evidence {
                quote: quote.to_owned(),
                bounds: None,
                grounded: Some(true),
            };
            let finding = Finding {
                id: Uuid::now_v7(),
                stream: StreamName::new(stream).unwrap(),
                agent: agent.to_owned(),
                observed_at: minute(at),
                severity,
                category: [Category::Intrusion, Category::Other][nth % 2],
                title: format!("Incident {nth}"),
                evidence: vec![evidence],
                ..Finding::sample()
            };
            queued(Publication {
                finding,
                still: (nth == 1).then(|| still_of(b"one")),
                asked: None,
            })
        })
        .collect();
    assert!(writer.try_write(&mut jobs).iter().all(Result::is_ok));
    (writer, readers)
}

fn counts(of: &[FacetCount]) -> Vec<(&str, u64)> {
    of.iter()
        .map(|one| (one.name.as_str(), one.count))
        .collect()
}

#[test]
fn facets_count_what_the_others_leave() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = six(dir.path());
    let worst = readers.incidents(&IncidentQuery {
        sort: Sort::Severity,
        limit: 1,
        ..IncidentQuery::default()
    });
    let worst = worst.unwrap().items[0].id;
    let owned = OwnerChange {
        incident: worst,
        owner: Some("Ann".to_owned()),
        by: "Ann".to_owned(),
        version: None,
    };
    assert!(writer.try_write(&mut [queued(owned)])[0].is_ok());

    let all = readers.incident_facets(&IncidentQuery::default()).unwrap();
    assert_eq!(all.total, 6);
    assert_eq!(
        counts(&all.severity),
        [("high", 2), ("critical", 2), ("low", 1), ("medium", 1)]
    );
    assert_eq!(counts(&all.status), [("new", 6)]);
    assert_eq!(counts(&all.stream), [("team", 4), ("demo", 2)]);
    assert_eq!(
        counts(&all.agent),
        [("SecOps", 3), ("DevOps", 2), ("CloudSec", 1)]
    );
    assert_eq!(counts(&all.owner), [("", 5), ("Ann", 1)]);

    let some = readers.incident_facets(&IncidentQuery {
        stream: Some("team".to_owned()),
        severities: vec![Severity::Critical, Severity::High],
        ..IncidentQuery::default()
    });
    let some = some.unwrap();
    assert_eq!(some.total, 2);
    assert_eq!(
        counts(&some.severity),
        [("low", 1), ("medium", 1), ("high", 1), ("critical", 1)]
    );
    assert_eq!(counts(&some.stream), [("demo", 2), ("team", 2)]);
    assert_eq!(counts(&some.agent), [("DevOps", 1), ("SecOps", 1)]);

    let nobodys = IncidentQuery {
        owner: Some(String::new()),
        from: Some(minute(59)),
        limit: 10,
        ..IncidentQuery::default()
    };
    let of_nobody = readers.incidents(&nobodys).unwrap().items;
    let facets = readers.incident_facets(&nobodys).unwrap();
    assert_eq!(facets.total, of_nobody.len() as u64);
    assert!(of_nobody.iter().all(|one| one.owner.is_none()));
}

#[test]
fn histogram_covers_the_range_in_equal_steps() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, readers) = six(dir.path());
    let now = minute(60);
    let six = |query| readers.incident_histogram(&query, 6, now).unwrap();
    let all = six(IncidentQuery::default());
    assert_eq!((all.from, all.to, all.step_ms), (minute(0), now, 600_000));
    let one = |critical, high, medium, low| SeverityCounts {
        critical,
        high,
        medium,
        low,
        info: 0,
    };
    let none = SeverityCounts::default();
    assert_eq!(
        all.buckets,
        [
            one(1, 1, 0, 1),
            none,
            none,
            one(0, 1, 0, 0),
            none,
            one(1, 0, 1, 0)
        ]
    );
    // Its end is not part of a range, its beginning is.
    let within = six(IncidentQuery {
        from: Some(minute(2)),
        to: Some(minute(59)),
        ..IncidentQuery::default()
    });
    assert_eq!(within.buckets[0], one(0, 1, 0, 0));
    assert_eq!(
        within.buckets.iter().map(|one| one.critical).sum::<u64>(),
        0
    );
    let empty = six(IncidentQuery {
        stream: Some("nowhere".to_owned()),
        ..IncidentQuery::default()
    });
    assert_eq!((empty.from, empty.buckets), (minute(45), vec![none; 6]));
}

#[test]
fn lanes_have_the_worst_of_each_step() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, readers) = six(dir.path());
    let range = TimeBuckets::new(minute(0), minute(60), 12);
    let (marks, more) = readers
        .incident_lanes(&IncidentQuery::default(), range)
        .unwrap();
    assert!(!more);
    let marks: Vec<_> = marks
        .iter()
        .map(|mark| {
            let titles = mark.incidents.iter().map(|one| one.title.as_str());
            let titles = titles.collect::<Vec<_>>().join(", ");
            let at = mark.at.as_second() / 60;
            (mark.stream.as_str(), at, mark.count, titles)
        })
        .collect();
    assert_eq!(
        marks,
        [
            ("demo", 30, 1, "Incident 3".to_owned()),
            ("demo", 55, 1, "Incident 4".to_owned()),
            (
                "team",
                0,
                3,
                "Incident 1, Incident 2, Incident 0".to_owned()
            ),
            ("team", 55, 1, "Incident 5".to_owned()),
        ]
    );
}

#[test]
fn groups_are_ordered_by_their_worst() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, readers) = six(dir.path());
    let query = IncidentQuery {
        limit: 10,
        ..IncidentQuery::default()
    };
    let groups = |query: &IncidentQuery, by| {
        let found = readers.incident_groups(query, by).unwrap();
        let names = found.items.iter().map(|one| (one.name.clone(), one.count));
        (names.collect::<Vec<_>>(), found.more)
    };
    let (streams, _) = groups(&query, GroupKey::Stream);
    assert_eq!(streams, [("team".to_owned(), 4), ("demo".to_owned(), 2)]);
    let (subjects, more) = groups(&query, GroupKey::Subject);
    assert!(!more);
    // The subject is the affected host before the user and the address.
    let listed = readers.incidents(&query).unwrap().items;
    for (name, count) in &subjects {
        let of = |one: &&Incident| one.subject().map_or("", |entity| &entity.value) == name;
        assert_eq!(listed.iter().filter(of).count() as u64, *count, "{name}");
        let filter = IncidentQuery {
            subject: Some(name.clone()),
            limit: 10,
            ..IncidentQuery::default()
        };
        let found = readers.incidents(&filter).unwrap().items;
        assert_eq!(found.len() as u64, *count, "{name}");
    }
    for name in ["web-01", "web-02", "db-04"] {
        assert!(subjects.contains(&(name.to_owned(), 1)), "{subjects:?}");
    }
    let one = IncidentQuery {
        limit: 1,
        ..IncidentQuery::default()
    };
    assert!(groups(&one, GroupKey::Stream).1);
}

/// Titles in an order, fetched in pages of one.
fn titles_in(readers: &Readers, sort: Sort, ascending: bool) -> Vec<String> {
    let mut query = IncidentQuery {
        sort,
        ascending,
        limit: 1,
        ..IncidentQuery::default()
    };
    let mut titles = Vec::new();
    loop {
        let page = readers.incidents(&query).unwrap();
        titles.extend(page.items.into_iter().map(|one| one.title));
        if page.next.is_none() {
            return titles;
        }
        query.after = page.next;
    }
}

#[test]
fn pages_follow_each_other_in_every_order() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, readers) = six(dir.path());
    let all = IncidentQuery {
        sort: Sort::LastSeen,
        limit: 10,
        ..IncidentQuery::default()
    };
    // By the time last seen, the newest first: a stable sort keeps that.
    let newest = readers.incidents(&all).unwrap().items;
    let text = |text: Option<&str>| text.unwrap_or_default().to_lowercase();
    type Key = fn(&Incident, &dyn Fn(Option<&str>) -> String) -> (i64, String);
    let orders: [(Sort, Key); 5] = [
        (Sort::Severity, |one, _| {
            (sql::badness(one.severity), String::new())
        }),
        (Sort::Settled, |one, _| {
            (sql::badness(one.standing_severity()), String::new())
        }),
        (Sort::Title, |one, text| (0, text(Some(&one.title)))),
        (Sort::Subject, |one, text| {
            (0, text(one.subject().map(|entity| entity.value.as_str())))
        }),
        (Sort::Stream, |one, text| {
            (0, text(Some(one.stream.as_str())))
        }),
    ];
    for (sort, key) in orders {
        let mut expected: Vec<_> = newest.iter().collect();
        expected.sort_by_key(|one| key(one, &text));
        let titles = |of: &[&Incident]| of.iter().map(|one| one.title.clone()).collect::<Vec<_>>();
        assert_eq!(
            titles_in(&readers, sort, true),
            titles(&expected),
            "{sort:?}"
        );
        expected = newest.iter().collect();
        expected.sort_by_key(|one| std::cmp::Reverse(key(one, &text)));
        assert_eq!(
            titles_in(&readers, sort, false),
            titles(&expected),
            "{sort:?}"
        );
    }
    // Equal keys, of which there are many, are reversed as a whole.
    for sort in [Sort::LastSeen, Sort::FirstSeen, Sort::Count] {
        let mut ascending = titles_in(&readers, sort, true);
        ascending.reverse();
        assert_eq!(titles_in(&readers, sort, false), ascending, "{sort:?}");
        assert_eq!(ascending.len(), SIX.len());
    }
    assert_eq!(titles_in(&readers, Sort::Owner, true).len(), SIX.len());
}

#[test]
fn activity_counts_findings_and_names_the_picture() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, readers) = six(dir.path());
    let query = IncidentQuery {
        sort: Sort::FirstSeen,
        limit: 10,
        ..IncidentQuery::default()
    };
    let listed = readers.incidents(&query).unwrap().items;
    let ids: Vec<_> = listed
        .iter()
        .map(|one| one.id)
        .chain([Uuid::nil()])
        .collect();
    // Findings count at the time they are stored, which is now.
    let now = Timestamp::now();
    let hour = jiff::SignedDuration::from_secs(HOUR);
    let range = TimeBuckets::new(now - hour, now + hour, 2);
    let found = readers.incident_activity(&ids, range).unwrap();
    assert_eq!(found.len(), 6);
    for (activity, incident) in found.iter().zip(&listed) {
        assert_eq!(activity.incident, incident.id);
        assert_eq!(activity.findings.iter().sum::<u64>(), incident.count);
        assert_eq!(activity.still.is_some(), incident.title == "Incident 1");
    }
}

#[test]
fn ranges_of_thousands_of_years_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, readers) = six(dir.path());
    let ends = [Timestamp::MIN, minute(0), minute(60), Timestamp::MAX];
    let all = [(0, 3), (0, 2), (1, 3), (1, 2)].map(|(from, to)| (ends[from], ends[to]));
    for (from, to) in all {
        let query = IncidentQuery {
            from: Some(from),
            to: Some(to),
            limit: 10,
            ..IncidentQuery::default()
        };
        let histogram = readers.incident_histogram(&query, 7, to).unwrap();
        let counted = (histogram.buckets.iter())
            .map(|of| of.critical + of.high + of.medium + of.low + of.info);
        let (marks, _) = readers
            .incident_lanes(&query, TimeBuckets::new(from, to, 7))
            .unwrap();
        let listed = readers.incidents(&query).unwrap().items;
        assert_eq!(counted.sum::<u64>(), listed.len() as u64, "{from} to {to}");
        let marked: u64 = marks.iter().map(|mark| mark.count).sum();
        assert_eq!(marked, listed.len() as u64, "{from} to {to}");
        let ids: Vec<_> = listed.iter().map(|one| one.id).collect();
        let active = readers
            .incident_activity(&ids, TimeBuckets::new(from, Timestamp::MAX, 7))
            .unwrap();
        for (activity, incident) in active.iter().zip(&listed) {
            assert_eq!(activity.findings.iter().sum::<u64>(), incident.count);
        }
    }
    // Before anything could be recorded.
    let query = IncidentQuery {
        from: Some(Timestamp::MIN),
        to: Some("0200-01-01T00:00:00Z".parse().unwrap()),
        ..IncidentQuery::default()
    };
    let empty = readers.incident_histogram(&query, 7, minute(60)).unwrap();
    assert_eq!(empty.buckets, vec![SeverityCounts::default(); 7]);
}

#[test]
fn counts_are_read_from_indexes_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _readers) = six(dir.path());
    let plan = |sql: &str| {
        let sql = format!("EXPLAIN QUERY PLAN {sql}");
        let mut plan = writer.db.prepare(&sql).unwrap();
        let steps = plan.raw_query().mapped(|row| row.get::<_, String>(3));
        let steps = steps.collect::<rusqlite::Result<Vec<_>>>().unwrap();
        steps.join("\n")
    };
    let usual = "status IN (0, 1) AND coalesce(snoozed_until, 0) <= 5 AND first_seen >= 7";
    for group in ["settled + 0", "status", "stream", "owner", "subject"] {
        let column = group.split(' ').next().unwrap();
        let sql =
            format!("SELECT {column}, count(*) FROM incidents WHERE {usual} GROUP BY {group}");
        let plan = plan(&sql);
        assert!(plan.contains("COVERING INDEX"), "{plan}");
    }
    let histogram = format!(
        "SELECT (first_seen - 1) / 2, settled, count(*) FROM incidents WHERE {usual} GROUP BY 1, 2"
    );
    let sparks = "SELECT (stored_at - 1) / 2, count(*) FROM findings
                  WHERE incident = 1 AND stored_at >= 1 AND stored_at < 9 GROUP BY 1";
    for sql in [histogram.as_str(), sparks] {
        let plan = plan(sql);
        assert!(plan.contains("COVERING INDEX"), "{plan}");
    }
}

#[test]
fn search_is_limited_to_a_range_of_time() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = open_at(dir.path());
    for (at, line) in [(1, "disk of db-01 full"), (5, "disk of db-05 full")] {
        let text = ScreenText {
            observed_at: minute(at),
            ..screen_of(&[line])
        };
        assert!(writer.try_write(&mut [queued(text)])[0].is_ok());
    }
    let found = |since, until| {
        let query = TextQuery {
            words: "disk".to_owned(),
            since,
            until,
            limit: 9,
            ..TextQuery::default()
        };
        let hits = readers.search(&query).unwrap().items.into_iter();
        hits.map(|hit| hit.text).collect::<Vec<_>>()
    };
    assert_eq!(found(Some(minute(2)), None), ["disk of db-05 full"]);
    assert_eq!(found(None, Some(minute(5))), ["disk of db-01 full"]);
    assert_eq!(found(Some(minute(1)), Some(minute(6))).len(), 2);
}
