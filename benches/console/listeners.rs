//! Many who listen to what happens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::server::{Server, finding, percentile};

const LISTENERS: usize = 200;
const A_SECOND: u32 = 20;
const SECONDS: u64 = 15;

/// When each finding was reported, by its id.
type Reported = Arc<Mutex<HashMap<String, Instant>>>;

pub async fn run() {
    println!("listeners: {A_SECOND} findings a second for {SECONDS} s");
    for listeners in [0, LISTENERS] {
        let server = Server::start().await;
        let reported: Reported = Arc::default();
        let heard: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let address = server.base.trim_start_matches("http://").to_owned();
        let mut tasks = Vec::new();
        for _ in 0..listeners {
            let listening = listen(address.clone(), Arc::clone(&reported), Arc::clone(&heard));
            tasks.push(tokio::spawn(listening));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
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
        let mut heard = heard.lock().unwrap();
        let count = heard.len();
        println!(
            "  {listeners:>3} listeners: {percent:5.1} % of a core; {count} heard, p50 {:?}, p99 {:?}",
            percentile(&mut heard, 50),
            percentile(&mut heard, 99),
        );
        let all = listeners * (u64::from(A_SECOND) * SECONDS) as usize;
        assert_eq!(count, all, "each hears each once");
    }
}

async fn listen(address: String, reported: Reported, heard: Arc<Mutex<Vec<Duration>>>) {
    let mut socket = TcpStream::connect(&address).await.unwrap();
    let request = format!("GET /api/events HTTP/1.1\r\nHost: {address}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let mut from = 0;
    loop {
        if socket.read_buf(&mut text).await.unwrap_or(0) == 0 {
            return;
        }
        while let Some(at) = find(&text[from..], b"event: finding\ndata: {\"id\":\"") {
            let id = from + at + b"event: finding\ndata: {\"id\":\"".len();
            let Some(id) = text.get(id..id + 36) else {
                break;
            };
            let id = String::from_utf8_lossy(id).into_owned();
            if let Some(sent) = reported.lock().unwrap().get(&id) {
                heard.lock().unwrap().push(sent.elapsed());
            }
            from += at + 1;
        }
        // Half a mark may stand at the end.
        let keep = text.len().saturating_sub(100).max(from);
        text.drain(..keep);
        from = 0;
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}
