//! Syslog, received and parsed by rsyslog and syslog-ng.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::common::PATIENCE;
use crate::sinks::harness::{SinkHarness, brute_force, numbered, python};
use crate::sinks::nats::free_port;
use watchtower::domain::finding::Severity;

/// Messages as rsyslog parsed them.
fn received(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("out")).unwrap_or_default();
    // The last line may be incomplete.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub(crate) struct Rsyslog {
    child: Child,
}

impl Rsyslog {
    /// Starts rsyslog on one port with `module`, for instance `imtcp`; output
    /// in `folder/out`.
    pub(crate) async fn start(
        folder: &Path,
        port: u16,
        module: &str,
        parameters: &str,
        global: &str,
    ) -> Self {
        Self::reading(folder, port, module, "", parameters, global).await
    }

    /// Starts rsyslog with additional input parameters.
    pub(crate) async fn reading(
        folder: &Path,
        port: u16,
        module: &str,
        input: &str,
        parameters: &str,
        global: &str,
    ) -> Self {
        let dir = folder.display();
        let conf = format!(
            "global(workDirectory=\"{dir}\" maxMessageSize=\"256k\" {global})\n\
             module(load=\"{module}\" {parameters})\n\
             input(type=\"{module}\" port=\"{port}\" address=\"127.0.0.1\" {input})\n\
             template(name=\"whole\" type=\"string\" string=\"%jsonmesg%\\n\")\n\
             action(type=\"omfile\" file=\"{dir}/out\" template=\"whole\")\n"
        );
        std::fs::write(folder.join("rsyslog.conf"), conf).unwrap();
        let child = Command::new("rsyslogd")
            .env("PATH", "/usr/sbin:/usr/bin:/bin")
            .args(["-n", "-iNONE", "-f"])
            .arg(folder.join("rsyslog.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("rsyslogd is there: scripts/setup.sh --tests installs it");
        listening(port, module == "imudp").await;
        Self { child }
    }
}

async fn listening(port: u16, udp: bool) {
    let table = if udp {
        "/proc/net/udp"
    } else {
        "/proc/net/tcp"
    };
    let local = format!("0100007F:{port:04X}");
    let open = async {
        loop {
            let table = std::fs::read_to_string(table).unwrap();
            let mut rows = table
                .lines()
                .filter_map(|row| row.split_whitespace().nth(1));
            if rows.any(|address| address == local) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, open)
        .await
        .expect("it listens");
}

fn check(messages: &[Value], incident: &str) {
    let parts: Vec<_> = messages
        .iter()
        .map(|message| {
            (
                message["msgid"].as_str().unwrap(),
                message["syslogseverity"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        parts,
        [
            ("opened", "4"),
            ("severity_rose", "3"),
            ("status", "3"),
            ("status", "3"),
            ("reopened", "2")
        ]
    );
    for message in messages {
        assert_eq!(
            (
                message["app-name"].as_str(),
                message["syslogfacility"].as_str()
            ),
            (Some("watchtower"), Some("16"))
        );
        let event: Value = serde_json::from_str(message["msg"].as_str().unwrap()).unwrap();
        assert_eq!(event["finding_info"]["uid"], incident);
        assert_eq!(event["metadata"]["version"], "1.8.0");
    }
    let first: Value = serde_json::from_str(messages[0]["msg"].as_str().unwrap()).unwrap();
    assert_eq!(
        first["finding_info"]["desc"],
        brute_force("SecOps", Severity::Medium).detail
    );
}

async fn delivered_to(way: &str, port: u16, ca: Option<&Path>) -> (SinkHarness, String) {
    let ca = ca.map_or(String::new(), |file| {
        format!("ca_file = '{}'", file.display())
    });
    let host = if way == "tls" {
        "localhost"
    } else {
        "127.0.0.1"
    };
    let harness = SinkHarness::with(&format!(
        "[sinks.log]\nkind = 'syslog'\naddress = '{way}://{host}:{port}'\n{ca}"
    ))
    .await;
    let incident = harness.incident_lifecycle().await.to_string();
    harness.caught_up("log").await;
    (harness, incident)
}

#[tokio::test]
async fn rsyslog_reads_every_message_over_udp_and_tcp() {
    for (way, module) in [("udp", "imudp"), ("tcp", "imtcp")] {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let _rsyslog = Rsyslog::start(folder.path(), port, module, "", "").await;
        let (harness, incident) = delivered_to(way, port, None).await;
        harness
            .until("five messages", |_| received(folder.path()).len() >= 5)
            .await;
        check(&received(folder.path()), &incident);
    }
}

#[tokio::test]
async fn a_receiver_without_octet_counting_reads_every_message() {
    for format in ["ocsf", "cef"] {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let input = "SupportOctetCountedFraming=\"off\"";
        let _rsyslog = Rsyslog::reading(folder.path(), port, "imptcp", input, "", "").await;
        let harness = SinkHarness::with(&format!(
            "[sinks.log]\nkind = 'syslog'\nframing = 'newline'\nformat = '{format}'\naddress = 'tcp://127.0.0.1:{port}'"
        ))
        .await;
        let incident = harness.incident_lifecycle().await.to_string();
        harness
            .until("five messages", |_| received(folder.path()).len() >= 5)
            .await;
        let messages = received(folder.path());
        if format == "ocsf" {
            check(&messages, &incident);
        } else {
            assert_eq!(messages.len(), 5);
            for message in messages {
                let body = message["msg"].as_str().unwrap();
                assert!(body.starts_with("CEF:0|Watchtower|"), "{body}");
                assert_eq!(message["app-name"], "watchtower");
            }
        }
    }
}

/// CA certificate and, signed by it, one for `name` and a client's.
pub(crate) fn certificates(folder: &Path, name: &str) -> PathBuf {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let ca = folder.join("ca.pem");
    std::fs::write(&ca, authority.as_ref().pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["watchtower.example".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    std::fs::write(folder.join("client.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("client-key.pem"), key.serialize_pem()).unwrap();
    ca
}

#[tokio::test]
async fn rsyslog_reads_every_message_over_tls_and_another_name_is_refused() {
    for (name, fits) in [("localhost", true), ("elsewhere.example", false)] {
        let folder = tempfile::tempdir().unwrap();
        let ca = certificates(folder.path(), name);
        let port = free_port();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let _rsyslog = Rsyslog::start(
            folder.path(),
            port,
            "imtcp",
            "streamDriver.name=\"gtls\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\"",
            &format!(
                "defaultNetstreamDriverCAFile=\"{}\" defaultNetstreamDriverCertFile=\"{}\" defaultNetstreamDriverKeyFile=\"{}\"",
                file("ca.pem"), file("cert.pem"), file("key.pem")
            ),
        )
        .await;
        if fits {
            let (harness, incident) = delivered_to("tls", port, Some(&ca)).await;
            harness
                .until("five messages", |_| received(folder.path()).len() >= 5)
                .await;
            check(&received(folder.path()), &incident);
        } else {
            let harness = SinkHarness::with(&format!(
                "[sinks.log]\nkind = 'syslog'\naddress = 'tls://localhost:{port}'\nca_file = '{}'",
                ca.display()
            ))
            .await;
            harness.finding(numbered(1)).await;
            harness
                .until("the refusal", |harness| harness.sink("log").failed > 0)
                .await;
            let why = harness.sink("log").last_error.unwrap();
            assert!(
                why.contains("TLS failed with localhost") && why.contains("certificate"),
                "{why}"
            );
            assert!(received(folder.path()).is_empty());
        }
    }
}

#[tokio::test]
async fn a_cef_parser_reads_the_text_of_a_hostile_screen() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let _rsyslog = Rsyslog::start(folder.path(), port, "imtcp", "", "").await;
    let harness = SinkHarness::with(&format!(
        "[sinks.log]\nkind = 'syslog'\nformat = 'cef'\naddress = 'tcp://127.0.0.1:{port}'\n[sinks.log.fields]\nenv = 'prod'"
    ))
    .await;
    let incident = harness.incident_lifecycle().await.to_string();
    let mut plain = numbered(1);
    plain.title = "Brute force".to_owned();
    harness.finding(plain).await;
    harness
        .until("six messages", |_| received(folder.path()).len() >= 6)
        .await;
    let messages = received(folder.path());
    let lines: Vec<_> = messages
        .iter()
        .map(|message| message["msg"].clone())
        .collect();
    let read = python("cef.py", json!(lines).to_string().as_bytes()).await;
    let severities: Vec<_> = read
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["severity"].as_str().unwrap())
        .collect();
    assert_eq!(severities, ["5", "8", "8", "8", "10", "8"]);
    assert_eq!(read[5]["pycef"], true);
    let finding = brute_force("SecOps", Severity::Medium);
    let first = &read[0];
    assert_eq!(first["name"].as_str().unwrap(), finding.title);
    assert_eq!(first["incident"], incident);
    assert_eq!(first["quote"].as_str().unwrap(), finding.evidence[0].quote);
    assert_eq!(first["src"], "203.0.113.45");
    assert_eq!(first["attack"], "T1110, T1110.001");
    assert_eq!(first["env"], "prod");
    assert_eq!(read[3]["outcome"], "closed");
    assert_eq!(read[3]["reason"], "Ada: seen | by = me");
}

#[tokio::test]
async fn what_rsyslog_had_not_read_when_it_was_killed_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut rsyslog = Rsyslog::start(folder.path(), port, "imtcp", "", "").await;
    let harness = SinkHarness::with(&format!(
        "[sinks.log]\nkind = 'syslog'\naddress = 'tcp://127.0.0.1:{port}'"
    ))
    .await;
    for number in 0..400 {
        harness.finding(numbered(number)).await;
    }
    harness
        .until("some arrive", |_| !received(folder.path()).is_empty())
        .await;
    rsyslog.child.kill().await.unwrap();
    // The last line may be incomplete.
    let out = folder.path().join("out");
    let text = std::fs::read_to_string(&out).unwrap();
    std::fs::write(&out, &text[..text.rfind('\n').map_or(0, |end| end + 1)]).unwrap();
    for number in 400..600 {
        harness.finding(numbered(number)).await;
    }
    let _again = Rsyslog::start(folder.path(), port, "imtcp", "", "").await;
    harness.finding(numbered(600)).await;
    harness.caught_up("log").await;
    let users = || -> std::collections::HashSet<String> {
        let events = received(folder.path());
        events
            .iter()
            .map(|message| {
                let event: Value = serde_json::from_str(message["msg"].as_str().unwrap()).unwrap();
                event["evidences"][0]["data"]["quote"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    harness.until("all arrive", |_| users().len() == 601).await;
}

#[tokio::test]
async fn syslog_ng_reads_every_message() {
    // Its package conflicts with rsyslog's: setup unpacks it separately.
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("syslog-ng");
    let binary = root.join("usr/sbin/syslog-ng");
    assert!(
        binary.exists(),
        "syslog-ng is not in {}: scripts/setup.sh --tests unpacks it",
        root.display()
    );
    let library = |folder: &str| root.join(folder).display().to_string();
    let modules = std::fs::read_dir(root.join("usr/lib/syslog-ng"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let conf = format!(
        "@version: 3.35\n\
         options {{ keep-hostname(yes); log-msg-size(262144); }};\n\
         source s {{ syslog(ip(127.0.0.1) port({port}) transport(\"tcp\")); }};\n\
         destination d {{ file(\"{}/out\" template(\"{{\\\"app-name\\\":\\\"$PROGRAM\\\",\\\"msgid\\\":\\\"$MSGID\\\",\\\"syslogseverity\\\":\\\"$LEVEL_NUM\\\",\\\"syslogfacility\\\":\\\"$FACILITY_NUM\\\",\\\"raw\\\":$MSG}}\\n\")); }};\n\
         log {{ source(s); destination(d); }};\n",
        folder.path().display()
    );
    std::fs::write(folder.path().join("ng.conf"), conf).unwrap();
    let _child = Command::new(binary)
        .env(
            "LD_LIBRARY_PATH",
            format!(
                "{}:{}:{}",
                library("usr/lib/x86_64-linux-gnu"),
                library("lib/x86_64-linux-gnu"),
                library("usr/lib/syslog-ng")
            ),
        )
        .args(["-F", "--no-caps", "--module-path"])
        .arg(modules)
        .arg("-f")
        .arg(folder.path().join("ng.conf"))
        .args(["-R", &folder.path().join("persist").display().to_string()])
        .args(["-p", &folder.path().join("pid").display().to_string()])
        .args(["-c", &folder.path().join("ctl").display().to_string()])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    listening(port, false).await;
    let (harness, incident) = delivered_to("tcp", port, None).await;
    harness
        .until("five messages", |_| received(folder.path()).len() >= 5)
        .await;
    let mut messages = received(folder.path());
    for message in &mut messages {
        message["msg"] = json!(message["raw"].to_string());
    }
    check(&messages, &incident);
}
