//! `watchtower.toml` as a whole; the file may be absent. Each section is read
//! by the `settings.rs` of its wing.

use watchtower_analysts::watchdog::settings::{WatchdogSettings, watchdog};
use watchtower_base::config::fault::Faults;
use watchtower_base::config::section::{Section, parse_table};
use watchtower_base::tls::settings::{TlsSettings, tls};
use watchtower_console::settings::{HttpSettings, http};
use watchtower_ingest::settings::{RtmpSettings, rtmp};
use watchtower_playback::settings::{WebrtcSettings, webrtc};
use watchtower_record::settings::{LogSettings, StoreSettings, logs, store};
use watchtower_screen::settings::{OcrSettings, ocr};
use watchtower_sinks::push::settings::{PushSettings, push};
use watchtower_sinks::settings::{self, SinkSettings};

/// Sections of `watchtower.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub rtmp: RtmpSettings,
    pub http: HttpSettings,
    pub ocr: OcrSettings,
    pub store: StoreSettings,
    pub logs: LogSettings,
    pub webrtc: WebrtcSettings,
    pub watchdog: WatchdogSettings,
    /// Certificate; without it only viewers' media is encrypted.
    pub tls: Option<TlsSettings>,
    pub push: PushSettings,
    pub sinks: Vec<SinkSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self::parse("", "watchtower.toml").expect("an empty file is valid")
    }
}

impl Settings {
    /// Parses a `watchtower.toml`; `file` is its name in faults.
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
        let push = push(root.section("push"));
        let sinks = root.each("sinks", settings::sink);
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
                push,
                sinks,
            })
        } else {
            Err(faults)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_file_states_the_defaults() {
        let text = include_str!("../../../watchtower.toml");
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
            [push]
            enabled = "no"
            contact = "me"
            services = ["https://ntfy.lan"]
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
