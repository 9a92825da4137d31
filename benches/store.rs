//! Cost of the store: correlating and storing findings, and reading lists out of
//! a store that has grown.
//!
//! `WATCHTOWER_BENCH_FINDINGS` and `WATCHTOWER_BENCH_INCIDENTS` set the size of
//! the grown store (1,000,000 and 50,000 take some minutes to fill);
//! `WATCHTOWER_BENCH_FOLDER` sets its folder.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use watchtower::base::stream_name::StreamName;
use watchtower::domain::finding::{
    Category, Evidence, Finding, FrameRef, ModelRef, Observation, Severity,
};
use watchtower::domain::incident::Incident;
use watchtower::record::Record;
use watchtower::record::settings::StoreSettings;
use watchtower::record::store::{FindingQuery, IncidentCursor, IncidentQuery, Page, Sort};

const AGENTS: [&str; 5] = ["SecOps", "DevOps", "CloudSec", "AISec", "Architect"];

fn size(name: &str, default: usize) -> usize {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Finding number `n`, on subject number `about`.
fn finding(n: usize, about: usize) -> Finding {
    let address = format!("10.{}.{}.{}", about >> 16, about >> 8 & 255, about & 255);
    let quote = |text: String| Evidence {
        quote: text,
        bounds: Some([100, 200, 130, 700]),
        grounded: Some(true),
    };
    let observation = Observation {
        severity: Severity::ALL[about % 5],
        confidence: 0.8,
        category: Category::ALL[about % 17],
        title: format!("Burst of failed logins, seen for the {n}th time"),
        detail: "Six failures in a minute for one account, from one address, on a host that \
                 faces the internet; the pattern is that of a password list."
            .to_owned(),
        evidence: vec![
            quote(format!(
                "Failed password for admin from {address} port {} ssh2",
                n % 60_000
            )),
            quote(format!("Failed logins, 1 minute {}", n % 100)),
        ],
        mitre: vec!["T1110".to_owned()],
        recommended_action: "Block the address at the edge and check for a success.".to_owned(),
    };
    let frame = FrameRef {
        seq: n as u64,
        pts_ms: n as i64 * 100,
        sha256: "ab".repeat(32),
    };
    let model = ModelRef {
        provider: "fake".to_owned(),
        name: "parrot".to_owned(),
        version: "1".to_owned(),
        prompt: String::new(),
    };
    let start: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
    let at = start + SignedDuration::from_millis(n as i64 * 10);
    let stream = StreamName::new(["team", "lab"][n % 2]).unwrap();
    Finding::new(AGENTS[n % 5], stream, at, frame, observation, model)
}

struct Store {
    bus: Record,
    _writer: JoinHandle<()>,
    dir: TempDir,
}

fn store() -> Store {
    let dir = match std::env::var_os("WATCHTOWER_BENCH_FOLDER") {
        Some(folder) => TempDir::new_in(folder),
        None => TempDir::new_in(env!("CARGO_MANIFEST_DIR")),
    };
    let dir = dir.unwrap();
    let settings = StoreSettings {
        max_bytes: 1 << 40,
        ..StoreSettings::default()
    };
    let path: &Path = dir.path();
    let (bus, writer) =
        Record::open(&path.join("data"), &path.join("logs"), &[], &settings).unwrap();
    Store {
        bus,
        _writer: writer,
        dir,
    }
}

/// Publishes all of them, with a number of concurrent writes; returns the
/// latency of each.
fn publish(
    runtime: &Runtime,
    bus: &Record,
    findings: Vec<Finding>,
    at_once: usize,
) -> Vec<Duration> {
    runtime.block_on(async {
        let mut lanes: Vec<Vec<Finding>> = (0..at_once).map(|_| Vec::new()).collect();
        for (n, finding) in findings.into_iter().enumerate() {
            lanes[n % at_once].push(finding);
        }
        let lanes = lanes.into_iter().map(|lane| {
            let bus = bus.clone();
            tokio::spawn(async move {
                let mut took = Vec::with_capacity(lane.len());
                for finding in lane {
                    let begun = Instant::now();
                    bus.publish(finding).await.unwrap();
                    took.push(begun.elapsed());
                }
                took
            })
        });
        let mut took = Vec::new();
        for lane in lanes.collect::<Vec<_>>() {
            took.extend(lane.await.unwrap());
        }
        took
    })
}

fn listed(
    runtime: &Runtime,
    bus: &Record,
    query: &IncidentQuery,
) -> Page<Incident, IncidentCursor> {
    let query = query.clone();
    let page = bus.read(move |store| store.incidents(&query));
    runtime.block_on(page).unwrap()
}

fn cpu() -> Duration {
    // CPU time of the whole process, in clock ticks of 10 ms.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn report(name: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "{name}: p50 {:?}, p95 {:?}, p99 {:?}, worst {:?}",
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    );
}

fn writing(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let store = store();
    let mut n = 0;
    let mut next = |count: usize, things: usize| -> Vec<Finding> {
        let findings = (n..n + count).map(|n| finding(n, n * 7919 % things));
        let findings = findings.collect();
        n += count;
        findings
    };
    // 10,000 findings a minute in a steady stream from five agents.
    let steady = next(2000, 200);
    let (begun, used) = (Instant::now(), cpu());
    let took = runtime.block_on(async {
        let mut beat = tokio::time::interval(Duration::from_millis(6));
        let mut lanes = Vec::new();
        for finding in steady {
            beat.tick().await;
            let bus = store.bus.clone();
            lanes.push(tokio::spawn(async move {
                let begun = Instant::now();
                bus.publish(finding).await.unwrap();
                begun.elapsed()
            }));
        }
        let mut took = Vec::new();
        for lane in lanes {
            took.push(lane.await.unwrap());
        }
        took
    });
    let share = (cpu() - used).as_secs_f64() / begun.elapsed().as_secs_f64();
    report("publish at 10,000 a minute", took);
    println!("  with {:.1} % of a core", share * 100.0);
    let burst = next(10_000, 200);
    let (begun, used) = (Instant::now(), cpu());
    let took = publish(&runtime, &store.bus, burst, 64);
    println!(
        "10,000 findings, 64 at a time: {:?}, {:?} of CPU",
        begun.elapsed(),
        cpu() - used
    );
    report("publish in that burst", took);
    criterion.bench_function("publish one", |bencher| {
        bencher.iter_batched(
            || next(1, 200),
            |findings| publish(&runtime, &store.bus, findings, 1),
            criterion::BatchSize::PerIteration,
        );
    });
}

fn reading(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let store = store();
    let count = size("WATCHTOWER_BENCH_FINDINGS", 100_000);
    let incidents = size("WATCHTOWER_BENCH_INCIDENTS", 5_000) / 2;
    let begun = Instant::now();
    for chunk in (0..count).collect::<Vec<_>>().chunks(20_000) {
        // Each subject is seen on both streams, and is an incident on each.
        let findings = chunk
            .iter()
            .map(|n| finding(*n, n / 2 % incidents))
            .collect();
        publish(&runtime, &store.bus, findings, 256);
    }
    let file = store.dir.path().join("data/watchtower.db");
    println!(
        "{count} findings of {} incidents filled in {:?}, {} MB",
        incidents * 2,
        begun.elapsed(),
        std::fs::metadata(file).unwrap().len() / 1_000_000
    );
    let findings = |agent: Option<&str>, stream: Option<&str>, severity, before| FindingQuery {
        agent: agent.map(str::to_owned),
        stream: stream.map(str::to_owned),
        severity,
        before,
        limit: 50,
        ..FindingQuery::default()
    };
    for (name, query) in [
        ("findings, newest", findings(None, None, None, None)),
        (
            "findings, in the middle",
            findings(None, None, None, Some(count as u64 / 2)),
        ),
        (
            "findings, critical",
            findings(None, None, Some(Severity::Critical), None),
        ),
        (
            "findings, of one agent",
            findings(Some("AISec"), None, None, None),
        ),
        (
            "findings, of agent and stream, high",
            findings(Some("AISec"), Some("lab"), Some(Severity::High), None),
        ),
        (
            "findings, of nobody",
            findings(Some("Nobody"), Some("lab"), None, None),
        ),
    ] {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                let query = query.clone();
                let page = store.bus.read(move |store| store.findings(&query));
                runtime.block_on(page).unwrap()
            });
        });
    }
    let all = IncidentQuery {
        limit: 50,
        ..IncidentQuery::default()
    };
    let middle = {
        let whole = IncidentQuery {
            limit: incidents,
            ..all.clone()
        };
        listed(&runtime, &store.bus, &whole).next
    };
    for (name, query) in [
        ("incidents, newest", all.clone()),
        (
            "incidents, worst",
            IncidentQuery {
                sort: Sort::Severity,
                ..all.clone()
            },
        ),
        (
            "incidents, most",
            IncidentQuery {
                sort: Sort::Count,
                ..all.clone()
            },
        ),
        (
            "incidents, in the middle",
            IncidentQuery {
                after: middle,
                ..all.clone()
            },
        ),
        (
            "incidents, filtered by everything",
            IncidentQuery {
                agent: Some("DevOps".to_owned()),
                stream: Some("lab".to_owned()),
                severity: Some(Severity::High),
                category: vec![Category::Intrusion],
                ..all.clone()
            },
        ),
        (
            "incidents, none found",
            IncidentQuery {
                agent: Some("Nobody".to_owned()),
                ..all.clone()
            },
        ),
    ] {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| listed(&runtime, &store.bus, &query));
        });
    }
    let one = listed(&runtime, &store.bus, &all).items[0].id;
    criterion.bench_function("one incident", |bencher| {
        bencher.iter(|| {
            runtime
                .block_on(store.bus.read(move |store| store.incident(one)))
                .unwrap()
        });
    });
    let more = (count..count + 500)
        .map(|n| finding(n, n / 2 % incidents))
        .collect();
    report(
        "publish into that store, 5 at a time",
        publish(&runtime, &store.bus, more, 5),
    );
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = writing, reading
}
criterion_main!(benches);
