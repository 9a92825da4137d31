//! `watchtower.toml`: how the server behaves. The file may be absent.

use std::path::PathBuf;
use std::time::Duration;

use super::section::Section;
use super::sinks::{self, SinkSettings};
use super::{Faults, parse_table};

/// All of `watchtower.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub rtmp: RtmpSettings,
    pub http: HttpSettings,
    pub ocr: OcrSettings,
    pub store: StoreSettings,
    pub logs: LogSettings,
    pub webrtc: WebrtcSettings,
    pub watchdog: WatchdogSettings,
    /// Without it nothing is encrypted but the viewers' media.
    pub tls: Option<TlsSettings>,
    pub sinks: Vec<SinkSettings>,
}

/// `[rtmp]`
#[derive(Debug, Clone, PartialEq)]
pub struct RtmpSettings {
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    /// Streams at the same time, those that wait for their publishers too.
    pub max_streams: usize,
    pub handshake_timeout: Duration,
    pub idle_timeout: Duration,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HttpSettings {
    /// Origins (RFC 6454) whose pages may call the API from a browser.
    pub allowed_origins: Vec<String>,
}

/// `[ocr]`
#[derive(Debug, Clone, PartialEq)]
pub struct OcrSettings {
    /// Share of one core that reading the screen may take, averaged.
    pub cpu_budget: f64,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Findings older than this are removed.
    pub keep: Duration,
    /// Database and evidence together; beyond it stills of the screens go first,
    /// then their text, then findings.
    pub max_bytes: u64,
    /// An incident not seen for so long speaks up when it is seen again, and
    /// is reopened if it was closed.
    pub quiet_time: Duration,
    /// Whether stills are kept as evidence.
    pub keep_stills: bool,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Settings::default().store
    }
}

/// `[logs]`: how `findings.jsonl` and the analysts' logs are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// Put aside beyond this; 0 leaves it to others.
    pub max_bytes: u64,
    /// Files put aside that are kept, of each.
    pub keep: usize,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            max_bytes: 100_000_000,
            keep: 5,
        }
    }
}

/// `[watchdog]`: how long it takes before the server reports what it can't
/// see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchdogSettings {
    /// A picture of nothing but black.
    pub black: Duration,
    /// A picture on which nothing has moved, not even by noise; and one on
    /// which something moved all the time before, as a clock does.
    pub frozen: Duration,
    pub stopped: Duration,
    /// Coded pictures come in and none is seen.
    pub keyframe: Duration,
    /// A stream whose publisher is gone.
    pub gone: Duration,
    /// A picture whose text nobody has read.
    pub unread: Duration,
    /// An analyst without an answer of its model, or three of its intervals
    /// if that is longer.
    pub unanswered: Duration,
}

/// `[webrtc]`
#[derive(Debug, Clone, PartialEq)]
pub struct WebrtcSettings {
    /// Viewers at the same time, of all streams.
    pub max_viewers: usize,
    pub transcode: Transcode,
}

/// `[tls]`: two PEM files, relative to the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The server's certificate first, then those between it and the root.
    pub certificate: PathBuf,
    /// Its private key, without a passphrase.
    pub key: PathBuf,
}

/// Whether what browsers can't play is made playable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transcode {
    /// Where it is needed, and while somebody watches.
    Auto,
    Never,
}

impl Default for Settings {
    fn default() -> Self {
        Self::parse("", "watchtower.toml").expect("an empty file is valid")
    }
}

impl Settings {
    /// Reads the text of a `watchtower.toml`; `file` only names it in faults.
    pub fn parse(text: &str, file: &str) -> Result<Self, Faults> {
        let mut faults = Faults::new(file);
        let table = parse_table(text, file)?;
        let mut root = Section::new(table, "", &mut faults);
        let rtmp = rtmp(root.section("rtmp"));
        let http = http(root.section("http"));
        let ocr = ocr(root.section("ocr"));
        let store = store(root.section("store"));
        let logs = logs(root.section("logs"));
        let webrtc = webrtc(root.section("webrtc"));
        let watchdog = watchdog(root.section("watchdog"));
        let tls = tls(root.section("tls"));
        let sinks = root.each("sinks", sinks::sink);
        root.finish();
        if faults.is_empty() {
            Ok(Self {
                rtmp,
                http,
                ocr,
                store,
                logs,
                webrtc,
                watchdog,
                tls,
                sinks,
            })
        } else {
            Err(faults)
        }
    }
}

fn rtmp(mut s: Section<'_>) -> RtmpSettings {
    let second = Duration::from_secs(1);
    let minute = Duration::from_secs(60);
    let settings = RtmpSettings {
        max_connections: s
            .integer("max_connections", 1, 65_536)
            .map_or(1024, |n| n as usize),
        max_connections_per_address: s
            .integer("max_connections_per_address", 1, 65_536)
            .map_or(256, |n| n as usize),
        max_streams: s
            .integer("max_streams", 1, 65_536)
            .map_or(32, |n| n as usize),
        handshake_timeout: s
            .duration("handshake_timeout", second, 5 * minute)
            .unwrap_or(10 * second),
        idle_timeout: s
            .duration("idle_timeout", second, 60 * minute)
            .unwrap_or(15 * second),
    };
    s.finish();
    settings
}

fn http(mut s: Section<'_>) -> HttpSettings {
    let allowed_origins = s.texts("allowed_origins").unwrap_or_default();
    for (index, origin) in allowed_origins.iter().enumerate() {
        if !is_origin(origin) {
            let expected = "must be scheme://host or scheme://host:port without a path";
            s.fault(
                &format!("allowed_origins[{index}]"),
                format!("{expected}, got {origin:?}"),
            );
        }
    }
    s.finish();
    HttpSettings { allowed_origins }
}

fn ocr(mut s: Section<'_>) -> OcrSettings {
    let settings = OcrSettings {
        cpu_budget: s.number("cpu_budget", 0.05, 1.0).unwrap_or(0.5),
    };
    s.finish();
    settings
}

fn store(mut s: Section<'_>) -> StoreSettings {
    let minute = Duration::from_secs(60);
    let day = 24 * 60 * minute;
    let settings = StoreSettings {
        keep: s
            .duration("keep", 60 * minute, 3650 * day)
            .unwrap_or(90 * day),
        max_bytes: s
            .integer("max_megabytes", 16, 100_000_000)
            .map_or(10_000, |n| n as u64)
            * 1_000_000,
        quiet_time: s
            .duration("quiet_time", minute, 30 * day)
            .unwrap_or(30 * minute),
        keep_stills: s.flag("keep_stills").unwrap_or(true),
    };
    s.finish();
    settings
}

fn logs(mut s: Section<'_>) -> LogSettings {
    let usual = LogSettings::default();
    let settings = LogSettings {
        max_bytes: s
            .integer("max_megabytes", 0, 100_000)
            .map_or(usual.max_bytes, |n| n as u64 * 1_000_000),
        keep: s
            .integer("keep", 1, 1000)
            .map_or(usual.keep, |n| n as usize),
    };
    s.finish();
    settings
}

fn watchdog(mut s: Section<'_>) -> WatchdogSettings {
    let second = Duration::from_secs(1);
    let mut after = |key, default| {
        s.duration(key, second, 86_400 * second)
            .unwrap_or(default * second)
    };
    let settings = WatchdogSettings {
        black: after("black", 5),
        frozen: after("frozen", 300),
        stopped: after("stopped", 30),
        keyframe: after("keyframe", 30),
        gone: after("gone", 3),
        unread: after("unread", 20),
        unanswered: after("unanswered", 60),
    };
    s.finish();
    settings
}

fn webrtc(mut s: Section<'_>) -> WebrtcSettings {
    let words = [("auto", Transcode::Auto), ("never", Transcode::Never)];
    let settings = WebrtcSettings {
        max_viewers: s
            .integer("max_viewers", 1, 100_000)
            .map_or(1000, |n| n as usize),
        transcode: s.choice("transcode", &words).unwrap_or(Transcode::Auto),
    };
    s.finish();
    settings
}

fn tls(mut s: Section<'_>) -> Option<TlsSettings> {
    let mut file = |key| {
        let file = s.text(key)?;
        if file.trim().is_empty() {
            s.fault(key, format!("must name a file, got {file:?}"));
        }
        Some(PathBuf::from(file))
    };
    let settings = match (file("certificate"), file("key")) {
        (Some(certificate), Some(key)) => Some(TlsSettings { certificate, key }),
        (Some(_), None) => {
            s.fault("key", "is missing: the certificate needs its key");
            None
        }
        (None, Some(_)) => {
            s.fault("certificate", "is missing: the key needs its certificate");
            None
        }
        (None, None) => None,
    };
    s.finish();
    settings
}

fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_says_the_defaults() {
        let text = include_str!("../../watchtower.toml");
        let sample = Settings::parse(text, "watchtower.toml").unwrap();
        assert_eq!(sample, Settings::default());
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let faults = Settings::parse(
            r#"
            verbose = true
            ocr = 3
            [rtmp]
            max_connections = -1
            idle_timeout = "1d"
            port = 1935
            [http]
            allowed_origins = ["https://console.example", "example.com", "https://x/y"]
            [store]
            keep = "5m"
            max_megabytes = 1
            keep_stills = "yes"
            [logs]
            max_megabytes = -1
            keep = 0
            [webrtc]
            max_viewers = 0
            transcode = "always"
            [tls]
            certificate = "fullchain.pem"
            private = "privkey.pem"
            "#,
            "watchtower.toml",
        )
        .unwrap_err();
        insta::assert_snapshot!(faults);
    }
}
