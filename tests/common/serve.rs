//! `watchtower serve` in a folder of its own, on ports of its own, stopped when
//! dropped.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::PATIENCE;

/// Root folder of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Builder of a server: its folder and command.
pub struct Setup {
    pub folder: tempfile::TempDir,
    command: Command,
}

impl Setup {
    /// Creates the setup: the shipped panel, no key, a clean environment.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(
            root().join("agents.toml"),
            folder.path().join("agents.toml"),
        )
        .unwrap();
        let command = command("serve", folder.path());
        Self { folder, command }
    }

    /// Uses the given command, in an existing folder.
    pub fn of(command: Command) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            command,
        }
    }

    pub fn agents(self, text: &str) -> Self {
        std::fs::write(self.folder.path().join("agents.toml"), text).unwrap();
        self
    }

    pub fn settings(self, text: &str) -> Self {
        std::fs::write(self.folder.path().join("watchtower.toml"), text).unwrap();
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// Runs a command that is expected to fail; returns its exit status and
    /// output.
    pub async fn fail(mut self) -> (ExitStatus, String) {
        let output = tokio::time::timeout(PATIENCE, self.command.output()).await;
        let output = output.expect("it ends by itself").unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status, String::from_utf8(text).unwrap())
    }

    /// Starts the server; returns when both ports are open.
    pub async fn start(mut self) -> TestServer {
        let mut child = self.command.spawn().unwrap();
        let output = ProcessOutput::default();
        output.follow(child.stdout.take().unwrap());
        output.follow(child.stderr.take().unwrap());
        let mut server = TestServer {
            folder: self.folder,
            child,
            output,
            rtmp: SocketAddr::from(([127, 0, 0, 1], 0)),
            scheme: String::new(),
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            client: watchtower::base::http_client::plain()
                .no_proxy()
                .build()
                .unwrap(),
        };
        server.rtmp = server.address("RTMP listening on ").await;
        let line = server.logged("HTTP listening on ").await;
        let (before, _) = line.split_once("://").unwrap();
        server.scheme = before.rsplit(' ').next().unwrap().to_owned();
        server.http = server.address("://").await;
        server
    }
}

/// Command of the real binary, with a clean environment and on free ports.
pub fn command(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_watchtower"));
    command
        .arg(name)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("RUST_LOG", "info,watchtower=debug")
        .env("NO_COLOR", "1")
        .env("WATCHTOWER_MODELS", models())
        .env("WATCHTOWER_RTMP", "127.0.0.1:0")
        .env("WATCHTOWER_HTTP", "127.0.0.1:0")
        .env("WATCHTOWER_WEBRTC", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Folder of the OCR model, which every test of the offline analyst needs.
pub fn models() -> PathBuf {
    let folder =
        std::env::var_os("WATCHTOWER_MODELS").map_or_else(|| root().join("models"), PathBuf::from);
    assert!(
        folder.join("rec.onnx").exists(),
        "the OCR model is not in {}: run scripts/fetch-models.sh",
        folder.display()
    );
    folder
}

pub struct TestServer {
    pub folder: tempfile::TempDir,
    pub rtmp: SocketAddr,
    pub http: SocketAddr,
    pub client: reqwest::Client,
    /// `http` or `https`.
    scheme: String,
    child: Child,
    output: ProcessOutput,
}

impl TestServer {
    pub fn rtmp_url(&self, path: &str) -> String {
        format!("rtmp://{}/{path}", self.rtmp)
    }

    pub fn http_url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.http)
    }

    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join("logs").join(name)).unwrap_or_default()
    }

    /// Lines of `findings.jsonl`, every one of which has to parse.
    pub fn findings(&self) -> Vec<Value> {
        let text = self.log("findings.jsonl");
        text.lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
            })
            .collect()
    }

    /// Findings without the server's own, such as an OCR backlog: on a busy
    /// machine those may come first, or in between.
    pub fn findings_of_analysts(&self) -> Vec<Value> {
        let mut findings = self.findings();
        findings.retain(|finding| finding["agent"] != "Watchtower");
        findings
    }

    /// Output so far.
    pub fn output(&self) -> String {
        self.output.text()
    }

    pub async fn logged(&self, text: &str) -> String {
        self.output.wait_for(text).await
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(self.http_url(path)).send().await.unwrap()
    }

    pub async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.unwrap()
    }

    /// Repeats the request until the response passes.
    pub async fn until<T>(&self, what: &str, mut good: impl AsyncFnMut(&Self) -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(value) = good(self).await {
                    return value;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(value) => value,
            Err(_) => panic!("{what} did not happen; the server said:\n{}", self.output()),
        }
    }

    /// Starts another server in the same folder after this one has ended.
    pub async fn again(self) -> Self {
        let mut setup = Setup::of(command("serve", self.folder.path()));
        setup.folder = self.folder;
        setup.start().await
    }

    /// Resident memory, in kilobytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill")
            .args([signal, &self.pid().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    pub async fn wait(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended
            .unwrap_or_else(|_| panic!("it does not end; it said:\n{}", self.output()))
            .unwrap()
    }

    pub async fn address(&self, before: &str) -> SocketAddr {
        let line = self.logged(before).await;
        let text = line.split(before).nth(1).unwrap().trim();
        text.parse()
            .unwrap_or_else(|_| panic!("no address in {line:?}"))
    }
}

/// Output of a process, line by line.
#[derive(Clone)]
struct ProcessOutput {
    text: Arc<Mutex<String>>,
    lines: watch::Sender<usize>,
}

impl Default for ProcessOutput {
    fn default() -> Self {
        Self {
            text: Arc::default(),
            lines: watch::Sender::new(0),
        }
    }
}

impl ProcessOutput {
    fn follow(&self, pipe: impl AsyncRead + Unpin + Send + 'static) {
        let output = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                *output.text.lock().unwrap() += &format!("{line}\n");
                output.lines.send_modify(|count| *count += 1);
            }
        });
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    async fn wait_for(&self, wanted: &str) -> String {
        let mut lines = self.lines.subscribe();
        let find = async {
            loop {
                lines.borrow_and_update();
                let text = self.text();
                if let Some(line) = text.lines().find(|line| line.contains(wanted)) {
                    return line.to_owned();
                }
                lines.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, find).await {
            Ok(line) => line,
            Err(_) => panic!("it never said {wanted:?}; it said:\n{}", self.text()),
        }
    }
}
