use super::super::correlate::tests;
use super::*;
use crate::finding::Category;
use crate::incident::PanelVerdict;

const FAILED: &str = "Failed password for admin from 203.0.113.4 port 515 ssh2";
const OTHER: &str = "Failed password for admin from 198.51.100.7 port 515 ssh2";
const LATER: &str = "Accepted password for admin from 203.0.113.4 port 977 ssh2";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn finding(line: &str, second: i64) -> Finding {
    let mut finding = tests::finding(Category::Intrusion, "Failed logins", &[line]);
    finding.observed_at = at(second);
    finding
}

fn worse(second: i64) -> Finding {
    Finding {
        severity: Severity::Critical,
        title: "They are in".to_owned(),
        ..finding(FAILED, second)
    }
}

/// Rules with ten minutes as the quiet time.
fn rules(suppressions: &[KnownSuppression]) -> JoinRules<'_> {
    JoinRules {
        suppressions,
        quiet_time: Duration::from_secs(600),
        now: at(9000),
    }
}

fn opened(finding: &Finding) -> TrackedIncident {
    let subject = Fingerprint::of(finding);
    let (opened, effect) = rules(&[]).open(finding, subject, Uuid::nil());
    assert_eq!((effect.news, effect.decision), (ChangeReason::Opened, None));
    opened
}

fn closed(finding: &Finding) -> TrackedIncident {
    let mut known = opened(finding);
    known.incident.status = Status::Closed;
    known
}

fn suppression() -> KnownSuppression {
    KnownSuppression {
        key: 7,
        id: Uuid::nil(),
        by: "Ada".to_owned(),
        why: "our own scanner".to_owned(),
        severity: Severity::High,
        subject: Fingerprint::of(&finding(FAILED, 0)),
    }
}

fn join(rules: JoinRules<'_>, known: &mut TrackedIncident, finding: &Finding) -> FindingEffect {
    rules.join(known, finding, &Fingerprint::of(finding))
}

/// Compares all of them, in the order of their keys.
fn search(finding: &Finding, known: &[TrackedIncident]) -> Option<i64> {
    let subject = Fingerprint::of(finding);
    let mut search = IncidentSearch::new(&subject);
    while let Some(keys) = search.next_keys() {
        assert!(!keys.is_empty());
        for (key, known) in (1..).zip(known) {
            if search.is_candidate(key) {
                search.consider(key, known);
            }
        }
    }
    search.found()
}

#[test]
fn finding_joins_the_most_similar_and_newest() {
    let old = opened(&finding(FAILED, 0));
    let new = opened(&finding(FAILED, 60));
    let other = opened(&finding(OTHER, 90));
    let mut elsewhere = finding(FAILED, 99);
    elsewhere.stream = watchtower_base::stream_name::StreamName::new("lab").unwrap();
    let all = [other, old, new, opened(&elsewhere)];
    assert_eq!(search(&finding(FAILED, 100), &all), Some(3));
    assert_eq!(search(&finding(OTHER, 100), &all), Some(1));
    assert_eq!(search(&elsewhere, &all), Some(4));
    assert_eq!(search(&elsewhere, &all[..3]), None);
}

#[test]
fn lookup_ends_at_the_same_lines() {
    let subject = Fingerprint::of(&finding(FAILED, 0));
    let known = opened(&finding(FAILED, 0));
    let mut sure = IncidentSearch::new(&subject);
    assert_eq!(sure.next_keys(), Some(subject.line_keys()));
    assert!(sure.is_candidate(1) && !sure.is_candidate(1));
    sure.consider(1, &known);
    assert_eq!(sure.next_keys(), None);
    let mut unsure = IncidentSearch::new(&subject);
    assert_eq!(unsure.next_keys(), Some(subject.line_keys()));
    assert_eq!(unsure.next_keys(), Some(subject.topic_keys()));
    assert_eq!((unsure.next_keys(), unsure.found()), (None, None));
}

#[test]
fn candidates_are_bounded() {
    let subject = Fingerprint::of(&finding(FAILED, 0));
    let mut search = IncidentSearch::new(&subject);
    let compared = (0..1000).filter(|key| search.is_candidate(*key)).count();
    assert_eq!(compared, CANDIDATES);
}

#[test]
fn suppressed_incident_is_closed_unless_more_severe() {
    let all = [suppression()];
    let known = finding(FAILED, 60);
    let (opened, effect) = rules(&all).open(&known, Fingerprint::of(&known), Uuid::nil());
    assert_eq!(effect.news, ChangeReason::Repeated);
    let decision = effect.decision.unwrap();
    assert_eq!(
        (decision.status, decision.at, decision.why.as_str()),
        (
            Status::Closed,
            at(9000),
            "suppressed by Ada, false positive: our own scanner"
        )
    );
    let state = (opened.suppression, opened.version, opened.incident.count);
    assert_eq!(state, (Some(7), 0, 1));
    let (opened, effect) = rules(&all).open(&worse(0), Fingerprint::of(&worse(0)), Uuid::nil());
    assert_eq!((effect.news, effect.decision), (ChangeReason::Opened, None));
    assert_eq!((opened.suppression, opened.version), (None, 1));
}

#[test]
fn open_incident_reports_its_changes() {
    let mut known = opened(&finding(FAILED, 0));
    let mut joined = |finding: &Finding| {
        let effect = join(rules(&[]), &mut known, finding);
        assert_eq!(effect.decision, None);
        (effect.news, effect.rose, known.version)
    };
    assert_eq!(
        joined(&finding(FAILED, 10)),
        (ChangeReason::Repeated, false, 1)
    );
    assert_eq!(
        joined(&finding(LATER, 20)),
        (ChangeReason::NewEvidence, false, 1)
    );
    let mut by_another = finding(FAILED, 30);
    by_another.agent = "DevOps".to_owned();
    assert_eq!(joined(&by_another), (ChangeReason::NewAgent, false, 1));
    assert_eq!(joined(&worse(40)), (ChangeReason::SeverityRose, true, 2));
    assert_eq!(
        joined(&finding(FAILED, 640)),
        (ChangeReason::Returned, false, 2)
    );
    let incident = known.incident;
    assert_eq!(
        (incident.count, incident.title.as_str()),
        (6, "They are in")
    );
    assert_eq!((incident.first_seen, incident.last_seen), (at(0), at(640)));
    assert_eq!(incident.agents, ["SecOps", "DevOps"]);
}

#[test]
fn alerts_for_new_evidence_are_bounded() {
    let mut known = opened(&finding(FAILED, 0));
    known.alerts = MOST_ALERTS;
    let effect = join(rules(&[]), &mut known, &finding(LATER, 1));
    assert_eq!(
        (effect.news, effect.learned),
        (ChangeReason::Repeated, true)
    );
}

#[test]
fn closed_incident_is_reopened_with_a_reason() {
    let first = finding(FAILED, 0);
    let named = "Failed password for admin from 203.0.113.4 port 515 ssh2 host=web-77";
    let mut unlearned = closed(&first);
    unlearned.reopens = true;
    for (mut known, finding, why) in [
        (closed(&first), finding(FAILED, 599), None),
        (
            closed(&first),
            finding(FAILED, 600),
            Some("recurred after 10 min"),
        ),
        (
            closed(&first),
            worse(1),
            Some("severity rose from high to critical"),
        ),
        (
            closed(&first),
            finding(named, 1),
            Some("new entity: host web-77"),
        ),
        (
            unlearned,
            finding(FAILED, 1),
            Some("suppression removed, still active"),
        ),
    ] {
        let effect = join(rules(&[]), &mut known, &finding);
        let (news, status) = match why {
            Some(_) => (ChangeReason::Reopened, Status::New),
            None => (ChangeReason::Repeated, Status::Closed),
        };
        assert_eq!((effect.news, known.incident.status), (news, status));
        let decision = effect.decision;
        assert_eq!(decision.as_ref().map(|one| one.why.as_str()), why);
        assert_eq!(known.version, 1 + u64::from(why.is_some()));
        assert!(!known.reopens || why.is_none());
    }
}

#[test]
fn false_positive_stays_closed_until_a_new_entity() {
    let all = [suppression()];
    let mut known = closed(&finding(FAILED, 0));
    known.suppression = Some(7);
    let effect = join(rules(&all), &mut known, &finding(FAILED, 100_000));
    assert_eq!(
        (effect.news, known.suppression),
        (ChangeReason::Repeated, Some(7))
    );
    let effect = join(rules(&all), &mut known, &worse(100_001));
    assert_eq!(
        (effect.news, known.suppression),
        (ChangeReason::Reopened, None)
    );
}

#[test]
fn late_finding_is_backdated_within_the_limit() {
    let mut known = opened(&finding(FAILED, 10_000));
    join(rules(&[]), &mut known, &finding(FAILED, 9_500));
    assert_eq!(known.incident.first_seen, at(9_500));
    join(rules(&[]), &mut known, &finding(FAILED, 0));
    assert_eq!(known.incident.first_seen, at(9_500));
    assert_eq!(known.incident.last_seen, at(10_000));
}

#[test]
fn most_similar_incident_is_joined_and_of_equals_the_one_seen_last() {
    let next = finding(FAILED, 120);
    let similar = || opened(&finding(LATER, 60));
    let equal = |second| opened(&finding(FAILED, second));
    assert_eq!(search(&next, &[similar()]), Some(1));
    assert_eq!(search(&next, &[similar(), equal(0)]), Some(2));
    assert_eq!(search(&next, &[equal(0), similar()]), Some(1));
    assert_eq!(search(&next, &[equal(0), equal(60)]), Some(2));
    assert_eq!(search(&next, &[equal(60), equal(0)]), Some(1));
    assert_eq!(search(&next, &[equal(60), equal(60)]), Some(1));
}

#[test]
fn rising_severity_ends_a_snooze_and_a_repeat_does_not() {
    let mut known = opened(&finding(FAILED, 0));
    known.incident.snoozed_until = Some(at(5000));
    join(rules(&[]), &mut known, &finding(FAILED, 10));
    assert_eq!(known.incident.snoozed_until, Some(at(5000)));
    assert!(known.incident.is_snoozed(at(4999)) && !known.incident.is_snoozed(at(5000)));
    let effect = join(rules(&[]), &mut known, &worse(20));
    assert_eq!(effect.news, ChangeReason::SeverityRose);
    assert_eq!(known.incident.snoozed_until, None);
}

#[test]
fn verdict_settles_the_severity_until_a_worse_finding() {
    let verdict = |reported| PanelVerdict {
        by: "Evidence reviewer".to_owned(),
        reported,
        severity: Severity::Low,
        confidence: 0.9,
        text: String::new(),
        dissent: Vec::new(),
        at: at(5),
        model: finding(FAILED, 0).model,
    };
    let mut known = opened(&finding(FAILED, 0));
    let found = known.incident.severity;
    for (reported, settled) in [
        (Some(found), Some(Severity::Low)),
        (Some(Severity::Critical), Some(Severity::Low)),
        // About a milder finding, or unknown.
        (Some(Severity::Info), None),
        (None, None),
    ] {
        known.incident.verdict = Some(verdict(reported));
        known.incident.settle();
        assert_eq!(known.incident.settled_severity, settled, "{reported:?}");
        let standing = known.incident.standing_severity();
        assert_eq!(standing, settled.unwrap_or(found));
    }
    known.incident.verdict = Some(verdict(Some(found)));
    known.incident.settle();
    join(rules(&[]), &mut known, &finding(FAILED, 10));
    assert_eq!(known.incident.settled_severity, Some(Severity::Low));
    join(rules(&[]), &mut known, &worse(20));
    assert_eq!(known.incident.settled_severity, None);
    assert!(known.incident.standing_severity() < found);
}
