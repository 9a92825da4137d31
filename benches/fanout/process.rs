//! CPU time and memory of a process, and the lowest cost of a packet.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

pub(crate) struct ProcessUsage {
    at: Instant,
    cpu: Duration,
    pub(crate) resident_mb: f64,
}

impl ProcessUsage {
    pub(crate) fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
        // After the name in parentheses, which may contain anything.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .expect("a name")
            .1
            .split_whitespace()
            .collect();
        let ticks: u64 = fields[11..13]
            .iter()
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum();
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
            .expect("a size");
        Self {
            at: Instant::now(),
            // The kernel counts in hundredths of a second.
            cpu: Duration::from_millis(10 * ticks),
            resident_mb: resident / 1024.0,
        }
    }

    pub(crate) fn percent_since(&self, before: &Self) -> f64 {
        let cpu = self.cpu.saturating_sub(before.cpu).as_secs_f64();
        100.0 * cpu / (self.at - before.at).as_secs_f64()
    }
}

/// Number of cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Sends 1,200-byte packets to a socket without a reader, one system call each.
pub(crate) fn sendto(time: Duration) {
    let sink = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let to = sink.local_addr().expect("bound");
    let packet = [0; 1200];
    let before = ProcessUsage::now();
    let start = Instant::now();
    let mut count = 0u64;
    while start.elapsed() < time {
        for _ in 0..1000 {
            let _ = socket.send_to(&packet, to);
        }
        count += 1000;
    }
    let usage = ProcessUsage::now();
    let cpu = usage.percent_since(&before) / 100.0 * start.elapsed().as_secs_f64();
    println!(
        "bare sendto: {:.2} us of CPU a packet",
        1e6 * cpu / count as f64
    );
}
