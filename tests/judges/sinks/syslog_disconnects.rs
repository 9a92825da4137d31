//! Syslog receivers that disconnect: undelivered events are sent again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::sinks::harness::{SinkHarness, numbered};

/// Listener with a small receive buffer.
fn listener() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_recv_buffer_size(1 << 16).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.listen(16).unwrap()
}

async fn syslog_sink(listener: &TcpListener, more: &str) -> SinkHarness {
    let address = listener.local_addr().unwrap();
    SinkHarness::with(&format!(
        "[sinks.log]\nkind = 'syslog'\nframing = 'newline'\naddress = 'tcp://{address}'\n{more}"
    ))
    .await
}

/// Users of all complete lines received over all connections.
#[derive(Clone, Default)]
struct Users(Arc<Mutex<HashSet<String>>>);

impl Users {
    /// Reads lines until the end.
    async fn read(&self, mut stream: TcpStream) {
        let (mut all, mut piece) = (Vec::new(), [0; 8192]);
        while let Ok(count @ 1..) = stream.read(&mut piece).await {
            all.extend_from_slice(&piece[..count]);
            while let Some(end) = all.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = all.drain(..=end).collect();
                let line = String::from_utf8(line).unwrap();
                assert!(line.starts_with('<') && line.ends_with("}\n"), "{line}");
                let user = line.split("password for ").nth(1).unwrap();
                let user = user.split(' ').next().unwrap().to_owned();
                self.0.lock().unwrap().insert(user);
            }
        }
    }

    fn take_all(&self, listener: TcpListener) {
        let users = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let users = users.clone();
                tokio::spawn(async move { users.read(stream).await });
            }
        });
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[tokio::test]
async fn events_a_receiver_disconnected_on_are_not_counted_as_delivered() {
    let listener = listener();
    let harness = syslog_sink(&listener, "").await;
    for number in 0..3 {
        harness.finding(numbered(number)).await;
    }
    // Receivers: one that resets with all unread, one that reads everything and
    // closes, one that half closes and stays.
    let mut first = listener.accept().await.unwrap().0;
    first.readable().await.unwrap();
    drop(first);
    first = listener.accept().await.unwrap().0;
    let mut all = vec![0; 1 << 16];
    assert!(first.read(&mut all).await.unwrap() > 0);
    drop(first);
    let mut half = listener.accept().await.unwrap().0;
    half.readable().await.unwrap();
    half.shutdown().await.unwrap();
    harness
        .until("three failures", |harness| harness.sink("log").failed >= 3)
        .await;
    let sink = harness.sink("log");
    assert_eq!((sink.delivered, sink.told), (0, 0), "{sink:?}");
    let state = &sink.state;
    assert!(
        state.starts_with("retrying: connection to 127.0.0.1:") && state.contains("lost"),
        "{state}"
    );
    let users = Users::default();
    users.take_all(listener);
    harness.caught_up("log").await;
    assert_eq!(users.count(), 3);
    let sink = harness.sink("log");
    assert_eq!((sink.delivered, sink.dead), (3, 0), "{sink:?}");
    assert_eq!(sink.state, "ok");
}

#[tokio::test]
async fn what_a_receiver_had_not_read_when_it_disconnected_is_sent_again_at_once() {
    let listener = listener();
    let harness = syslog_sink(&listener, "").await;
    harness.finding(numbered(0)).await;
    let hung = listener.accept().await.unwrap().0;
    // Its kernel has acknowledged it, and no error followed.
    harness.caught_up("log").await;
    assert_eq!(harness.sink("log").delivered, 1);
    drop(hung);
    let users = Users::default();
    users.take_all(listener);
    harness.until("it comes", |_| users.count() == 1).await;
    assert_eq!(harness.sink("log").delivered, 1, "counted once");
}

#[tokio::test]
async fn a_receiver_that_stopped_reading_is_left_and_all_of_it_sent_again() {
    let listener = listener();
    let harness = syslog_sink(&listener, "timeout = '1s'").await;
    // More than all buffers in between hold.
    let mut bulk = Vec::new();
    for number in 0..800 {
        let mut finding = numbered(number);
        finding.detail = "x".repeat(20_000);
        bulk.push(harness.finding(finding));
    }
    futures_util::future::join_all(bulk).await;
    let hung = listener.accept().await.unwrap().0;
    let stuck = |harness: &SinkHarness| harness.sink("log").state.contains("receiver stalled");
    harness.until("it is seen", stuck).await;
    let sink = harness.sink("log");
    assert!(sink.delivered < 800, "{sink:?}");
    let users = Users::default();
    users.take_all(listener);
    harness.caught_up("log").await;
    assert_eq!(harness.sink("log").delivered, 800);
    harness.until("all came", |_| users.count() == 800).await;
    drop(hung);
}

#[tokio::test]
async fn a_receiver_that_is_slow_is_not_left() {
    let listener = listener();
    let harness = syslog_sink(&listener, "timeout = '1s'").await;
    let mut bulk = Vec::new();
    for number in 0..60 {
        let mut finding = numbered(number);
        finding.detail = "x".repeat(20_000);
        bulk.push(harness.finding(finding));
    }
    futures_util::future::join_all(bulk).await;
    let mut slow = listener.accept().await.unwrap().0;
    let began = Instant::now();
    let (mut read, mut piece) = (0, vec![0; 30_000]);
    // Some progress in each second, for far longer than `timeout` in all.
    while harness.sink("log").delivered < 60 {
        tokio::select! {
            count = slow.read(&mut piece) => read += count.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
            _ = listener.accept() => panic!("another connection after {read} bytes"),
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(2), "{read} bytes");
    assert_eq!(harness.sink("log").failed, 0);
}
