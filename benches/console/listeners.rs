//! Load of many event stream listeners.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::server::{ServerProcess, finding, percentile};

const LISTENERS: usize = 200;
const A_SECOND: u32 = 20;
const SECONDS: u64 = 15;

/// Report time of each finding, by its id.
type Reported = Arc<Mutex<HashMap<String, Instant>>>;

pub(crate) async fn run() {
    println!("listeners: {A_SECOND} findings a second for {SECONDS} s");
    for listeners in [0, LISTENERS] {
        let server = ServerProcess::start().await;
        let reported: Reported = Arc::default();
        let latencies: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let address = server.base.trim_start_matches("http://").to_owned();
        let ready = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for _ in 0..listeners {
            let listening = listen(
                address.clone(),
                Arc::clone(&ready),
                Arc::clone(&reported),
                Arc::clone(&latencies),
            );
            tasks.push(tokio::spawn(listening));
        }
        while ready.load(Ordering::Relaxed) < listeners {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (cpu, began) = (server.cpu(), Instant::now());
        let mut tick = tokio::time::interval(Duration::from_secs(1) / A_SECOND);
        for number in 0..u64::from(A_SECOND) * SECONDS {
            tick.tick().await;
            let finding = finding(number);
            let id = finding["id"].as_str().unwrap().to_owned();
            reported.lock().unwrap().insert(id, Instant::now());
            server.report(&finding).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let took = began.elapsed().as_secs_f64();
        let percent = (server.cpu() - cpu) / took * 100.0;
        for task in &tasks {
            task.abort();
        }
        let mut latencies = latencies.lock().unwrap();
        let count = latencies.len();
        println!(
            "  {listeners:>3} listeners: {percent:5.1} % of a core; {count} heard, p50 {:?}, p99 {:?}",
            percentile(&mut latencies, 50),
            percentile(&mut latencies, 99),
        );
        let all = listeners * (u64::from(A_SECOND) * SECONDS) as usize;
        assert_eq!(count, all, "each hears each once");
    }
}

async fn listen(
    address: String,
    ready: Arc<AtomicUsize>,
    reported: Reported,
    latencies: Arc<Mutex<Vec<Duration>>>,
) {
    let mut socket = TcpStream::connect(&address).await.unwrap();
    let request = format!("GET /api/events HTTP/1.1\r\nHost: {address}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(socket).lines();
    let mut is_finding = false;
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(data) = line.strip_prefix("data: {\"id\":\"").filter(|_| is_finding) {
            let sent = reported.lock().unwrap().get(&data[..36]).copied();
            latencies
                .lock()
                .unwrap()
                .extend(sent.map(|sent| sent.elapsed()));
        }
        // First event sent to each listener.
        if line == "event: streams" {
            ready.fetch_add(1, Ordering::Relaxed);
        }
        is_finding = line == "event: finding";
    }
}
