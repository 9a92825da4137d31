//! The analysts' findings in a terminal: `watchtower tail`, and the panes of
//! `scripts/panes.sh` in a real tmux.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::common::PATIENCE;
use crate::common::serve::{Setup, command, models, root};

const AGENTS: &str = r#"
[model]
provider = "offline"
[[agent]]
name = "SecOps"
personality = "wary"
focus = "threats"
[[agent]]
name = "DevOps"
personality = "calm"
focus = "availability"
"#;

fn finding(agent: &str, severity: &str, title: &str) -> Value {
    json!({
        "id": Uuid::now_v7(), "incident": null, "agent": agent, "stream": "team",
        "observed_at": jiff::Timestamp::now().to_string(),
        "frame": {"seq": 1, "pts_ms": 40, "sha256": "ab".repeat(32)},
        "severity": severity, "confidence": 0.5, "category": "intrusion",
        "title": title, "detail": "Its detail.",
        "evidence": [{"quote": title, "box": [1, 2, 3, 4], "grounded": true}],
        "mitre": [], "recommended_action": "Look at it.",
        "model": {"provider": "offline", "name": "rules", "version": "1"},
    })
}

/// Output of `watchtower tail` with these arguments, which ends by itself.
async fn tail(folder: &Path, args: &[&str]) -> String {
    let output = command("tail", folder).args(args).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn tail_prints_a_line_a_finding() {
    // Reports are taken of analysts that run elsewhere.
    let nobody = "[model]\nprovider = \"offline\"\n";
    let server = Setup::new().agents(nobody).start().await;
    let sent = [
        finding("SecOps", "critical", "Reverse shell in a terminal"),
        finding("DevOps", "medium", "Certificate expires in 3 days"),
        finding("SecOps", "low", "Account locked"),
    ];
    for finding in &sent {
        let request = server.client.post(server.http_url("/api/findings"));
        let answer = request.json(finding).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 201, "{finding}");
    }
    let folder = server.folder.path();
    server
        .until("the logs", async |server| {
            let written = server.log("secops.log").contains("Account locked");
            (written && server.log("devops.log").contains("Certificate")).then_some(())
        })
        .await;
    let time = |finding: &Value| {
        let at: jiff::Timestamp = finding["observed_at"].as_str().unwrap().parse().unwrap();
        at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let shell = format!("{}  ■ CRITICAL  ", time(&sent[0]));
    let certificate = format!("{}  ◆ MEDIUM    ", time(&sent[1]));
    let locked = format!("{}  ● LOW       ", time(&sent[2]));
    let shell_text = "Reverse shell in a terminal · team\n";
    let locked_text = "Account locked · team\n";

    // Whole lines without colours, as it is no terminal.
    let one = tail(folder, &["SecOps", "--no-follow"]).await;
    assert_eq!(one, format!("{shell}{shell_text}{locked}{locked_text}"));
    let all = tail(folder, &["--no-follow", "--severity", "medium"]).await;
    let mut lines: Vec<_> = all.lines().collect();
    // Both were seen in the same second.
    lines.sort_by_key(|line| line.contains("MEDIUM"));
    assert_eq!(
        lines,
        [
            format!("{shell}secops     {}", shell_text.trim_end()),
            format!("{certificate}devops     Certificate expires in 3 days · team"),
        ]
    );
    let details = tail(
        folder,
        &[
            "SecOps",
            "--no-follow",
            "--severity",
            "critical",
            "--details",
        ],
    )
    .await;
    assert_eq!(
        details,
        format!(
            "{shell}{shell_text}    > Reverse shell in a terminal\n    Its detail.\n    action: Look at it.\n"
        )
    );
    let last = tail(folder, &["SecOps", "--no-follow", "-n", "1"]).await;
    assert_eq!(last, format!("{locked}{locked_text}"));
    for none in [
        ["--stream", "demo"],
        ["--since", "2100-01-01T00:00:00Z"],
        ["-n", "0"],
    ] {
        let args = [&["SecOps", "--no-follow"], &none[..]].concat();
        assert_eq!(tail(folder, &args).await, "", "{none:?}");
    }
    let colours = tail(folder, &["SecOps", "--no-follow", "--color", "always"]).await;
    assert!(colours.contains("\u{1b}["), "{colours}");

    let mut refused = command("tail", folder);
    let refused = refused.args(["../secops"]).output().await.unwrap();
    assert!(!refused.status.success());
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(
        text.contains("'../secops'") && text.contains("letters"),
        "{text}"
    );
}

/// Terminal of 200 columns and 50 lines, by a tmux of its own, and the tmux
/// that a program in it may start. Both are ended when dropped.
struct Terminal {
    folder: tempfile::TempDir,
    socket: PathBuf,
}

impl Terminal {
    /// Runs a command of the shell in a folder.
    fn open(command: &str, within: &Path, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        let socket = folder.path().join("socket");
        let terminal = Self { folder, socket };
        let inner = terminal.folder.path().join("inner");
        let mut tmux = terminal.tmux();
        tmux.args([
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "200",
            "-y",
            "50",
        ])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm-256color")
        .env("TMUX_TMPDIR", inner)
        .current_dir(within);
        for (name, value) in environment {
            tmux.env(name, value);
        }
        assert!(tmux.arg(command).status().unwrap().success());
        terminal
    }

    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.arg("-u").arg("-S").arg(&self.socket);
        tmux
    }

    /// Output of a command of the tmux that shows the panes.
    fn ask(&self, inner: bool, args: &[&str]) -> String {
        let mut tmux = match inner {
            true => {
                let mut tmux = Command::new("tmux");
                tmux.env("TMUX_TMPDIR", self.folder.path().join("inner"));
                tmux
            }
            false => self.tmux(),
        };
        let output = tmux.env_remove("TMUX").args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Titles of the panes, and their ids.
    fn panes(&self, inner: bool) -> Vec<(String, String)> {
        let panes = self.ask(
            inner,
            &[
                "list-panes",
                "-a",
                "-F",
                "#{window_name}\t#{pane_title}\t#{pane_id}",
            ],
        );
        panes
            .lines()
            .filter_map(|line| {
                let mut parts = line.split('\t');
                let (window, title, id) = (parts.next()?, parts.next()?, parts.next()?);
                matches!(window, "server" | "watchtower").then(|| (title.to_owned(), id.to_owned()))
            })
            .collect()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.ask(true, &["kill-server"]);
        self.ask(false, &["kill-server"]);
    }
}

/// Waits until a result is there.
async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>, seen: impl Fn() -> String) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{what} did not happen: {}",
            seen()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Starts the panes, reports findings, and compares what they show.
async fn panes_show_findings(within_tmux: bool) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("agents.toml"), AGENTS).unwrap();
    let script = root().join("scripts/panes.sh");
    let leave = if within_tmux {
        ""
    } else {
        "env -u TMUX -u TMUX_PANE "
    };
    let command = format!(
        "{leave}{} {} sleep 1000; exec sleep 1000",
        script.display(),
        env!("CARGO_BIN_EXE_watchtower")
    );
    let models = models();
    let terminal = Terminal::open(
        &command,
        folder.path(),
        &[
            ("WATCHTOWER_MODELS", models.to_str().unwrap()),
            ("WATCHTOWER_RTMP", "127.0.0.1:0"),
            ("WATCHTOWER_HTTP", "127.0.0.1:0"),
            ("WATCHTOWER_WEBRTC", "127.0.0.1:0"),
        ],
    );
    let inner = !within_tmux;
    let screen = || terminal.ask(false, &["capture-pane", "-p", "-t", ":0"]);
    let panes = until(
        "a pane for each analyst",
        || {
            Some(terminal.panes(inner))
                .filter(|panes| panes.last().is_some_and(|(title, _)| title == "DevOps"))
        },
        screen,
    )
    .await;
    // The script shows the window once its layout is final.
    until(
        "the window with its layout",
        || {
            let shown = if within_tmux {
                let windows = [
                    "list-windows",
                    "-a",
                    "-F",
                    "#{window_active} #{window_name}",
                ];
                let windows = terminal.ask(inner, &windows);
                windows.lines().any(|window| window == "1 watchtower")
            } else {
                let text = screen();
                text.contains("─ SecOps ") && text.contains("─ DevOps ")
            };
            shown.then_some(())
        },
        screen,
    )
    .await;
    let titles: Vec<_> = panes.iter().map(|(title, _)| title.as_str()).collect();
    assert!(
        titles[0].starts_with("Server · http://127.0.0.1:"),
        "{titles:?}"
    );
    assert_eq!(titles[1..], ["SecOps", "DevOps"]);
    let pane = |name: &str, colours: bool| {
        let (_, id) = panes.iter().find(|(title, _)| title == name).unwrap();
        let mut args = vec!["capture-pane", "-p", "-t", id];
        args.extend(colours.then_some("-e"));
        terminal.ask(inner, &args)
    };
    // A line is clipped at the width that its terminal has when it is printed,
    // which tmux changes some time after the pane's.
    let sized = |name: &str| {
        let (_, id) = panes.iter().find(|(title, _)| title == name).unwrap();
        let asked = "#{pane_tty} #{pane_height} #{pane_width}";
        let answer = terminal.ask(inner, &["display-message", "-p", "-t", id, asked]);
        let (terminal, size) = answer.trim().split_once(' ').unwrap();
        let stty = Command::new("stty").args(["-F", terminal, "size"]).output();
        String::from_utf8(stty.unwrap().stdout).unwrap().trim() == size
    };
    until(
        "terminals of the size of their panes",
        || (sized("SecOps") && sized("DevOps")).then_some(()),
        screen,
    )
    .await;
    until(
        "an empty pane that says so",
        || (pane("SecOps", false).trim() == "no findings yet").then_some(()),
        || pane("SecOps", false),
    )
    .await;

    // As the record appends them.
    let logs = folder.path().join("logs");
    let append = |log: &str, entry: &str| {
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.append(true).open(logs.join(log)).unwrap();
        file.write_all(entry.as_bytes()).unwrap();
    };
    let long = "again ".repeat(60);
    append(
        "secops.log",
        &format!(
            "2026-11-23T09:14:05Z  CRITICAL  Failed logins of 管理者 {long} (team, 1.0 s)\n    > quote\n"
        ),
    );
    append(
        "secops.log",
        "2026-11-23T09:14:06Z  LOW       Account \u{1b}[2Jlocked  (team, 2.0 s)\n",
    );
    append(
        "devops.log",
        "2026-11-23T09:14:07Z  HIGH      Disk is full  (team, 3.0 s)\n",
    );
    let lines = until(
        "both findings",
        || {
            let text = pane("SecOps", false);
            let lines: Vec<_> = text
                .lines()
                .map(str::trim_end)
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect();
            (lines.len() >= 3).then_some(lines)
        },
        || pane("SecOps", false),
    )
    .await;
    // A line each, clipped at the width of the pane.
    let [empty, first, second] = lines.as_slice() else {
        panic!("{lines:#?}");
    };
    assert_eq!(empty, "no findings yet");
    assert!(
        first.starts_with("09:14:05  ■ CRITICAL  Failed logins of 管理者 again"),
        "{first}"
    );
    assert!(first.ends_with('…'), "{first}");
    assert!(
        second == "09:14:06  ● LOW       Account [2Jlocked · team",
        "{second}"
    );
    let other = until(
        "the finding of the other analyst",
        || {
            Some(pane("DevOps", false))
                .filter(|text| text.contains("▲ HIGH      Disk is full · team"))
        },
        || pane("DevOps", false),
    )
    .await;
    assert!(
        !other.contains("logins") && !other.contains("locked"),
        "{other}"
    );
    // White on red.
    let coloured = pane("SecOps", true);
    assert!(coloured.contains("48;5;160m"), "{coloured}");

    if !within_tmux {
        // What a person sees: all panes with their titles.
        let seen = until(
            "the finding in the window",
            || Some(screen()).filter(|text| text.contains("Disk is full")),
            screen,
        )
        .await;
        assert!(seen.contains("─ Server · http://127.0.0.1:"), "{seen}");
    }
    let windows = terminal.ask(inner, &["list-windows", "-a", "-F", "#{window_name}"]);
    assert!(windows.lines().any(|name| name == "sample"), "{windows}");

    // Its windows end with the server.
    let (_, server) = &panes[0];
    terminal.ask(inner, &["send-keys", "-t", server, "C-c"]);
    until(
        "the end of its windows",
        || {
            let left = terminal.ask(inner, &["list-windows", "-a", "-F", "#{window_name}"]);
            let ours = left
                .lines()
                .any(|name| matches!(name, "server" | "watchtower" | "sample"));
            (!ours).then_some(())
        },
        screen,
    )
    .await;
}

#[tokio::test]
async fn panes_show_the_findings_of_their_analysts() {
    panes_show_findings(false).await;
}

#[tokio::test]
async fn panes_are_a_window_of_the_tmux_that_is_there() {
    panes_show_findings(true).await;
}
