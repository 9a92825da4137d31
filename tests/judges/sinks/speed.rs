//! Drain rate of the spool while findings arrive, and its memory. Run by
//! `scripts/bench.sh sinks`; `WATCHTOWER_EVENTS` sets the number of events.

use std::time::{Duration, Instant};

use crate::sinks::harness::{SinkHarness, numbered};
use crate::sinks::nats::free_port;
use crate::sinks::syslog::Rsyslog;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "measures: scripts/bench.sh sinks"]
async fn a_spool_drains() {
    let count = std::env::var("WATCHTOWER_EVENTS").ok();
    let count: usize = count
        .and_then(|count| count.parse().ok())
        .unwrap_or(100_000);
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let _rsyslog = Rsyslog::start(folder.path(), port, "imtcp", "", "").await;
    let file = "[sinks.file]\nkind = 'jsonl'\naddress = 'FOLDER/out.jsonl'".to_owned();
    let syslog = format!("[sinks.syslog]\nkind = 'syslog'\naddress = 'tcp://127.0.0.1:{port}'");
    for (name, text) in [("file", &file), ("syslog", &syslog)] {
        // A store of its own: a disabled sink starts anew.
        let mut harness = SinkHarness::new();
        harness.start(text).await;
        harness.stop().await;
        let began = Instant::now();
        for part in 0..count.div_ceil(64) {
            let batch = (part * 64..((part + 1) * 64).min(count)).map(|number| {
                let bus = harness.bus.clone();
                tokio::spawn(async move { bus.publish(numbered(number)).await.unwrap() })
            });
            for published in batch.collect::<Vec<_>>() {
                published.await.unwrap();
            }
        }
        println!(
            "published {count} in {:.1} s",
            began.elapsed().as_secs_f64()
        );
        let before = resident();
        let began = Instant::now();
        harness.start(text).await;
        let bus = harness.bus.clone();
        let live = tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            for number in 0..20 {
                let began = Instant::now();
                bus.publish(numbered(number)).await.unwrap();
                slowest = slowest.max(began.elapsed());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            slowest
        });
        let mut most = 0;
        loop {
            most = most.max(resident());
            if harness.sink(name).told >= count as u64 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let rate = count as f64 / began.elapsed().as_secs_f64();
        let slowest = live.await.unwrap().as_millis();
        println!(
            "{name}: {rate:.0} events/s, memory {before} -> at most {most} MB, slowest live finding {slowest} ms"
        );
        harness.stop().await;
    }
}
