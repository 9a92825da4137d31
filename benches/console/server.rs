//! Server under test, and the findings reported to it.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

pub(crate) struct ServerProcess {
    pub(crate) base: String,
    /// Where publishers connect: `rtmp://127.0.0.1:1935`.
    pub(crate) rtmp: String,
    pub(crate) client: reqwest::Client,
    child: Child,
    _folder: tempfile::TempDir,
}

impl ServerProcess {
    pub(crate) async fn start() -> Self {
        Self::with("[model]\nprovider = \"offline\"\n").await
    }

    /// Server with these analysts.
    pub(crate) async fn with(agents: &str) -> Self {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let models = std::env::var_os("WATCHTOWER_MODELS").map_or(root.join("models"), Into::into);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("agents.toml"), agents).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_watchtower"))
            .arg("serve")
            .current_dir(folder.path())
            .env_clear()
            .env("WATCHTOWER_RTMP", "127.0.0.1:0")
            .env("WATCHTOWER_HTTP", "127.0.0.1:0")
            .env("WATCHTOWER_WEBRTC", "127.0.0.1:0")
            .env("WATCHTOWER_MODELS", models)
            .env("NO_COLOR", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut http, mut rtmp) = (None, None);
        while http.is_none() || rtmp.is_none() {
            let line = lines.next_line().await.unwrap().expect("it starts");
            let said = |what: &str| Some(line.split_once(what)?.1.trim().to_owned());
            http = http.or_else(|| said("HTTP listening on "));
            rtmp = rtmp.or_else(|| said("RTMP listening on "));
        }
        let (base, rtmp) = (http.unwrap(), rtmp.unwrap());
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            base,
            rtmp: format!("rtmp://{}", rtmp.trim_start_matches("rtmp://")),
            client: watchtower::base::http_client::plain()
                .no_proxy()
                .build()
                .unwrap(),
            child,
            _folder: folder,
        }
    }

    pub(crate) async fn report(&self, finding: &Value) {
        let url = format!("{}/api/findings", self.base);
        let sent = self.client.post(url).json(finding).send().await.unwrap();
        assert_eq!(sent.status().as_u16(), 201);
    }

    /// CPU time in seconds, over all its threads.
    pub(crate) fn cpu(&self) -> f64 {
        let pid = self.child.id().unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<_> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        // USER_HZ, which is 100 on Linux.
        ticks / 100.0
    }
}

/// Finding with a host of its own, so that each opens an incident.
pub(crate) fn finding(number: u64) -> Value {
    let severity = ["critical", "high", "medium", "low"][number as usize % 4];
    json!({
        "id": uuid::Uuid::now_v7(), "incident": null, "agent": "Outpost", "stream": "team",
        "observed_at": jiff::Timestamp::now().to_string(),
        "frame": {"seq": number, "pts_ms": number * 50, "sha256": "ab".repeat(32)},
        "severity": severity,
        "confidence": 0.8, "category": "intrusion",
        "title": format!("Login succeeded after a burst of failures on host-{number:05}"),
        "detail": "A login succeeded after repeated failed attempts: possible successful brute force.",
        "evidence": [{
            "quote": format!("Accepted password for admin from 10.{}.{}.7 on host-{number:05}", number / 250, number % 250),
            "box": [100, 100, 140, 600], "grounded": true
        }],
        "mitre": ["T1110"],
        "recommended_action": "Treat the account as compromised: end its sessions, reset it, and trace its activity since.",
        "model": {"provider": "offline", "name": "rules", "version": "1"},
    })
}

/// Percentile of values.
pub(crate) fn percentile(values: &mut [Duration], of: usize) -> Duration {
    values.sort_unstable();
    let place = (values.len() * of / 100).min(values.len().saturating_sub(1));
    values.get(place).copied().unwrap_or_default()
}
