use watchtower_domain::finding::Severity;
use watchtower_screen::layout::Layout;
use watchtower_screen::picture::Picture;

use super::vocabulary::Strength;
use super::*;
use crate::offline::elements::painted;
use crate::offline::rules::Rules;
use crate::offline::screen::drawn;

fn rules() -> Rules {
    Rules::load(&[]).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn short_texts_have_a_state_a_level_or_a_lifecycle() {
    let rules = rules();
    let state = |text: &str| {
        rules
            .vocabulary
            .status(text)
            .state
            .map(|state| (state.strength, state.severity))
    };
    for (text, expected) in [
        ("Degraded", Some((Strength::Status, Severity::High))),
        ("OutOfSync", Some((Strength::Status, Severity::Medium))),
        (
            "fai1ed (3m ago)",
            Some((Strength::Status, Severity::Medium)),
        ),
        ("Backup failed", Some((Strength::Status, Severity::Medium))),
        (
            "CrashLoopBackOff",
            Some((Strength::Certain, Severity::High)),
        ),
        ("Not ready", Some((Strength::Status, Severity::High))),
        ("Warning", Some((Strength::Weak, Severity::Medium))),
        ("No connection", Some((Strength::Status, Severity::High))),
        ("No connections lost", None),
        ("Failed: 0", None),
        ("No failed", None),
        ("not degraded", None),
        ("0 failed", None),
        ("Running", None),
        ("failed-jobs-exporter ready", None),
        ("Failed logins", None),
        ("the failed logins of last week by host", None),
    ] {
        assert_eq!(state(text), expected, "{text}");
    }
    let said = rules.vocabulary.status("Active, Verified");
    assert!(said.open && !said.closed);
    assert!(rules.vocabulary.status("Resolved").closed);
    assert_eq!(
        rules.vocabulary.status("Moderate").level,
        Some(Severity::Medium)
    );
    assert_eq!(rules.vocabulary.status("High memory").level, None);
}

#[test]
fn sentences_tell_what_is_and_not_what_could_be() {
    let rules = rules();
    for (text, expected) in [
        ("The nightly backup failed on db-2.", true),
        ("Login service is unreachable from zone b", true),
        ("Collector has not reported for 6 hours", true),
        ("No data received since 3 h", true),
        ("Restarted 214 times in this hour", true),
        ("The disk ran out of disk space while writing", true),
        ("Unable to reach it: connection refused", true),
        ("If the backup failed, open a ticket", false),
        ("Notify me when a node is unreachable", false),
        ("The backup has not failed this week", false),
        ("Why is my node unreachable?", false),
        ("Retry failed jobs", false),
        (
            "Use the filter to narrow down which failed runs are shown",
            false,
        ),
        ("Click a run that is unreachable to open its log", false),
        ("Failed logins, last hour", false),
        ("Alert has not fired for 30 days", false),
        ("Restarted 2 times", false),
        ("All 14 backups completed", false),
        ("No errors in the last 24 hours", false),
        ("An unhealthy target should be replaced", false),
    ] {
        assert_eq!(
            !rules.vocabulary.problems(text).is_empty(),
            expected,
            "{text}"
        );
    }
}

/// Titles of the findings on a screen drawn in characters.
pub(super) fn titles(screen: &str) -> Vec<String> {
    let rules = rules();
    let (lines, picture) = painted(screen);
    let layout = Layout::of(&lines, &picture);
    let found = findings(&rules.vocabulary, &layout, |_| false);
    found.into_iter().map(|finding| finding.title).collect()
}

#[test]
fn row_is_named_by_its_subject() {
    let screen = "\
Name          Status      Duration    Region
payroll-sync  Succeeded   12 s        eu-1
ledger-sync   Failed      40 s        eu-1
mail-sync     Succeeded   9 s         eu-1";
    assert_eq!(titles(screen), ["ledger-sync: Failed"]);
}

#[test]
fn event_is_named_by_its_message_and_owned_by_its_topic() {
    let screen = "\
Time      Host    Message                              Outcome
09:12:01  edge-4  Session opened for user o.brandt     success
09:12:07  edge-4  Wrong password for user o.brandt     failure
09:12:40  edge-4  Session closed for user o.brandt     success";
    assert_eq!(
        titles(screen),
        ["Wrong password for user o.brandt: failure"]
    );
    let rules = rules();
    let layout = Layout::of(&drawn(screen), &Picture::grey(1920, 1080));
    let found = findings(&rules.vocabulary, &layout, |_| false);
    assert_eq!(rules.vocabulary.kinds[found[0].kind].name, "access");
}

#[test]
fn many_rows_alike_are_one_finding() {
    let screen = "\
Name      Status    Region
node-a    Offline   eu-1
node-b    Offline   eu-1
node-c    Offline   eu-1
node-d    Offline   eu-1
node-e    Online    eu-1";
    assert_eq!(titles(screen), ["4 × Offline: node-a, node-b, node-c"]);
}

#[test]
fn open_items_of_high_severity_are_reported_and_closed_ones_are_not() {
    let screen = "\
Severity   Finding                          Asset      Status
High       SQL injection in search form     shop       Open
High       Stored XSS in profile            shop       Resolved
Low        Version header shown             shop       Open";
    assert_eq!(titles(screen), ["High: SQL injection in search form"]);
}

#[test]
fn numbers_are_measured_by_the_head_of_their_column() {
    let screen = "\
Service    Error rate    p99 latency    Requests
reviews    66.9%         210 ms         1,204
ratings    0.2%          95 ms          4,311";
    assert_eq!(titles(screen), ["reviews: 66.9% errors"]);
}

#[test]
fn definitions_and_counts_of_none_stay_quiet() {
    let rules = "\
Detection rules
Name                     Severity    Threshold    Enabled
Disk almost full         Critical    90 %         On
Backup failed            High        1            On
Node unreachable         High        3            On";
    let queue = "\
Queue         Flagged    Failed    Reviewed
images        0          0         412
comments      0          0         1,204";
    assert_eq!(titles(rules), [""; 0]);
    assert_eq!(titles(queue), [""; 0]);
}

#[test]
fn outcome_of_an_event_that_was_not_read_names_nobody() {
    let screen = "\
Time      Host    Message                              Outcome
09:12:01  edge-4  Session opened for user o.brandt     success
09:12:07  edge-4                                       {red}failure
09:12:40  edge-4  Session closed for user o.brandt     success";
    assert_eq!(titles(screen), [""; 0]);
    let read = screen.replace(
        "edge-4                         ",
        "edge-4  Disk check of volume a ",
    );
    assert_eq!(titles(&read), ["Disk check of volume a: failure"]);
}

#[test]
fn event_whose_time_was_not_read_is_named_by_its_message() {
    let screen = "\
Time      Host    Message                              Outcome
09:12:01  edge-4  Session opened for user o.brandt     success
          edge-4  Wrong password for user o.brandt     {red}failure
09:12:40  edge-4  Session closed for user o.brandt     success";
    assert_eq!(
        titles(screen),
        ["Wrong password for user o.brandt: failure"]
    );
}

#[test]
fn result_counts_beside_a_time_of_the_last_run() {
    let screen = "\
Job           Last run     Took     Last result
payroll-sync  Today 02:10  41 min   Success
ledger-sync   Today 03:20  3 min    {red}Failed
mail-sync     Today 03:25  3 min    Success";
    assert_eq!(titles(screen), ["ledger-sync: Failed"]);
}

#[test]
fn numbers_in_sentences_are_measured() {
    let rules = rules();
    for (text, expected) in [
        (
            "The p99 latency of search is 4.8 s now",
            Some("tail latency"),
        ),
        ("5xx error rate 12.4% is above 1%", Some("errors")),
        ("CPU utilization is at 99%", Some("usage")),
        (
            "Error budget 3.1% left, gone in 2 hours",
            Some("error budget"),
        ),
        ("Replication lag of db-1: 412 s", Some("replication lag")),
        ("The p99 latency of search is 480 ms now", None),
        ("Alert when the error rate is above 5%", None),
        ("Memory available 98%", None),
        ("CPU threshold 95%", None),
        ("Error rate recovered: 0.2% after 12%", None),
        ("Discount of 97% on all items", None),
    ] {
        let told = numbers::told_measures(&rules.vocabulary, text, &[]);
        let name = told.first().map(|(measure, _)| measure.name.as_str());
        assert_eq!(name, expected, "{text}");
    }
}

/// Titles and kinds of the findings on a screen drawn in characters.
fn kinds(screen: &str) -> Vec<(String, String)> {
    let rules = rules();
    let (lines, picture) = painted(screen);
    let layout = Layout::of(&lines, &picture);
    let found = findings(&rules.vocabulary, &layout, |_| false).into_iter();
    let named = found.map(|found| {
        let kind = &rules.vocabulary.kinds[found.kind].name;
        (kind.clone(), found.title)
    });
    named.collect()
}

#[test]
fn tail_latency_among_prompts_and_tokens_is_that_of_a_model() {
    let screen = |label: &str, slow: &str| {
        format!(
            "\
Route        {label}    Tokens    p95 latency
support      9,120      412 k     {slow}
summaries    4,020      88 k      1.4 s"
        )
    };
    assert_eq!(titles(&screen("Prompts", "2.9 s")), [""; 0]);
    assert_eq!(
        titles(&screen("Prompts", "48 s")),
        ["support: 48 s model latency"]
    );
    // Tokens may be those of sessions.
    let visitors = titles(&screen("Visitors", "2.9 s"));
    assert_eq!(
        visitors,
        [
            "support: 2.9 s tail latency",
            "summaries: 1.4 s tail latency"
        ]
    );
}

#[test]
fn success_of_attacks_is_bad_and_a_failed_probe_is_of_what_it_tries() {
    let red_team = "\
Red team of the support assistant

Probe                   Attacks    Success rate    Result
Encoded instructions    80         2 %             Passed
Data of other clients   80         76 %            Failed
Role play               80         0 %             Passed";
    let found = kinds(red_team);
    assert!(
        found.iter().all(|(kind, _)| kind == "model") && found.len() == 1,
        "{found:?}"
    );
    assert!(found[0].1.starts_with("Data of other clients"), "{found:?}");
    let jobs = "\
Nightly jobs

Job                     Runs       Success rate    Result
Export of invoices      80         98 %            Passed
Import of orders        80         76 %            Failed
Sync of prices          80         99 %            Passed";
    let found = kinds(jobs);
    assert_eq!(
        found,
        [(
            "availability".to_owned(),
            "Import of orders: Failed".to_owned()
        )]
    );
}
