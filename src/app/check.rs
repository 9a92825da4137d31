//! `watchtower check`: validates configuration and environment for `serve`.

use std::fmt::Display;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};

use watchtower_analysts::AgentSpec;
use watchtower_analysts::settings::Panel;
use watchtower_base::text::counted;
use watchtower_base::tls::Tls;
use watchtower_base::tls::settings::TlsSettings;
use watchtower_codec as codec;
use watchtower_models::settings::Provider;
use watchtower_record::store::{Readers, StoreError, clock_fault};
use watchtower_screen::Ocr;
use watchtower_sinks as sinks;

use crate::build_agents;
use crate::config::{Config, Places, Secrets};

/// Free space required in a folder, in bytes.
const ROOM: usize = 1 << 20;
/// Age in the outbox above which an event is overdue.
const SOON: SignedDuration = SignedDuration::from_secs(60);

/// Row of the table.
struct CheckRow {
    what: String,
    verdict: CheckResult,
}

enum CheckResult {
    Good(String),
    /// Works, with a warning.
    Doubtful(String),
    Fault(String),
}

/// Prints the table; fails if any row is an error.
pub(super) async fn run(places: Places, secrets: Secrets) -> ExitCode {
    let rows = rows(places, secrets).await;
    let width = rows
        .iter()
        .map(|row| row.what.len())
        .max()
        .unwrap_or_default();
    let mut faults = 0;
    for CheckRow { what, verdict } in &rows {
        let (mark, text) = match verdict {
            CheckResult::Good(text) => ("ok", text),
            CheckResult::Doubtful(text) => ("warn", text),
            CheckResult::Fault(text) => {
                faults += 1;
                ("ERROR", text)
            }
        };
        let indent = format!("\n{:width$}", "", width = width + 9);
        println!("{what:<width$}  {mark:<5}  {}", text.replace('\n', &indent));
    }
    if faults == 0 {
        println!("OK");
        ExitCode::SUCCESS
    } else {
        println!("{}", counted(faults, "error"));
        ExitCode::FAILURE
    }
}

async fn rows(places: Places, secrets: Secrets) -> Vec<CheckRow> {
    let mut rows = vec![
        row("RTMP port", free(places.rtmp)),
        row("HTTP port", http(&places, &secrets)),
        row("log folder", writable(&places.logs)),
    ];
    if let Some(address) = places.rtmps {
        rows.insert(1, row("RTMPS port", free(address)));
    }
    rows.push(row(
        "stream key",
        Ok::<_, String>(match secrets.stream_key {
            Some(_) => "set",
            None => "not set: local publishers only",
        }),
    ));
    rows.extend(codec::capabilities().into_iter().map(|(codec, available)| {
        let verdict = if available {
            Ok("available")
        } else {
            Err("missing in this FFmpeg build")
        };
        row(codec, verdict)
    }));
    rows.push(row("data folder", writable(&places.data)));
    let models = places.models.clone();
    let config = match Config::load(places, secrets) {
        Ok(config) => config,
        Err(error) => {
            rows.push(row("configuration", Err::<&str, _>(error)));
            return rows;
        }
    };
    if let Some(settings) = &config.settings.tls {
        rows.extend(certificate(settings));
    }
    rows.extend(record(&config));
    let enabled = config.panel.enabled().count();
    rows.push(row(
        "configuration",
        Ok::<_, String>(format!(
            "{enabled} of {} enabled",
            counted(config.panel.agents.len(), "analyst")
        )),
    ));
    rows.extend(language(&config.panel, config.default_provider()));
    rows.extend(ocr_models(&config, &models));
    match build_agents::build(&config) {
        Ok((members, ..)) => rows.extend(probe(&members).await),
        Err(error) => rows.push(row("models", Err::<&str, _>(format!("{error:#}")))),
    }
    rows
}

/// State of the OCR model, and of those of other languages.
fn ocr_models(config: &Config, folder: &Path) -> Vec<CheckRow> {
    let what = "OCR model";
    if !config.reads_text() {
        return vec![row(what, Ok::<_, String>("not required".to_owned()))];
    }
    let ocr = match Ocr::load_for(folder, &config.settings.ocr.languages) {
        Ok(ocr) => ocr,
        Err(error) => return vec![row(what, Err::<&str, _>(error))],
    };
    let faults = ocr.language_faults();
    let also = match ocr.reads_ideographs() {
        true => ", with Chinese and Japanese",
        false => "",
    };
    let mut rows = vec![row(
        what,
        Ok::<_, String>(format!("in {}{also}", folder.display())),
    )];
    rows.extend(
        faults
            .into_iter()
            .map(|fault| row("OCR language", Err::<&str, _>(fault))),
    );
    rows
}

/// State of the database, and of each sink's pending events.
fn record(config: &Config) -> Vec<CheckRow> {
    let settings = &config.settings;
    let readers = Readers::beside(&config.places.data, settings.store.max_bytes);
    let now = Timestamp::now();
    let verdict = match readers.as_ref().map(Readers::newest_stamp) {
        None => CheckResult::Good("not created yet".to_owned()),
        Some(Err(error)) => CheckResult::Fault(error.to_string()),
        Some(Ok(None)) => CheckResult::Good("no findings".to_owned()),
        Some(Ok(Some(newest))) => match clock_fault(newest, now) {
            Some(fault) => CheckResult::Doubtful(fault),
            None => CheckResult::Good(format!("latest finding {newest:.0}")),
        },
    };
    let mut rows = vec![CheckRow {
        what: "database".to_owned(),
        verdict,
    }];
    for sink in &settings.sinks {
        let undelivered = readers
            .as_ref()
            .map(|readers| undelivered(readers, &sink.name));
        // An unreadable record is reported above.
        let undelivered = undelivered.and_then(Result::ok).unwrap_or_default();
        rows.push(CheckRow {
            what: format!("sink {}", sink.name),
            verdict: match sinks::check(sink) {
                Err(fault) => CheckResult::Fault(fault),
                Ok(good) if undelivered.is_empty() => CheckResult::Good(good.to_owned()),
                Ok(_) => CheckResult::Doubtful(undelivered.join("; ")),
            },
        });
    }
    rows
}

/// Overdue events of a sink, as text.
fn undelivered(readers: &Readers, sink: &str) -> Result<Vec<String>, StoreError> {
    let mut undelivered = Vec::new();
    if let Some((delivered, _)) = readers.cursor(&sinks::cursor_name(sink))? {
        let first = readers.happened_after(delivered, 1)?.into_iter().next();
        let first = first.filter(|event| Timestamp::now().duration_since(event.at) > SOON);
        if let Some(first) = first {
            let waiting = readers.last_happened()? + 1 - first.seq;
            let since = first.at;
            undelivered.push(format!(
                "{} pending since {since:.0}: see last_error of the sink on the server",
                counted(waiting, "event")
            ));
        }
    }
    match readers.dead_count(sink)? {
        0 => {}
        dead => undelivered.push(counted(dead, "dead letter")),
    }
    Ok(undelivered)
}

/// Languages set for enabled analysts, with a warning for those that apply the
/// offline rules, which are in English; `None` if English is all there is.
fn language(panel: &Panel, default: Provider) -> Option<CheckRow> {
    let mut languages: Vec<String> = Vec::new();
    let mut by_rules: Vec<&str> = Vec::new();
    let mut falls_back = false;
    for agent in panel.enabled() {
        let language = &agent.persona.language;
        if language.is_english() {
            continue;
        }
        let name = language.to_string();
        if !languages.contains(&name) {
            languages.push(name);
        }
        let models = agent.models(&panel.model, default);
        let offline = |(provider, _): &(Provider, String)| *provider == Provider::Offline;
        match models.iter().position(offline) {
            Some(0) => by_rules.push(agent.name()),
            Some(_) => falls_back = true,
            None => {}
        }
    }
    if languages.is_empty() {
        return None;
    }
    let languages = languages.join(", ");
    let verdict = if !by_rules.is_empty() {
        CheckResult::Doubtful(format!(
            "{languages} requires a hosted model; offline rules report in English: {}",
            by_rules.join(", ")
        ))
    } else if falls_back {
        CheckResult::Good(format!("{languages}; offline fallback in English"))
    } else {
        CheckResult::Good(languages)
    };
    Some(CheckRow {
        what: "language".to_owned(),
        verdict,
    })
}

/// Checks each distinct model once.
async fn probe(members: &[AgentSpec]) -> Vec<CheckRow> {
    let mut rows: Vec<CheckRow> = Vec::new();
    let mut seen = Vec::new();
    for member in members {
        for link in member.chain.links() {
            let identity = link.model.identity();
            let what = match link.governor {
                Some(_) => format!("{} {}", identity.provider, identity.name),
                None => "offline rules".to_owned(),
            };
            if !seen.contains(&what) {
                rows.push(row(&what, link.model.probe().await));
                seen.push(what);
            }
        }
    }
    rows
}

fn row<T: Display, E: Display>(what: &str, verdict: Result<T, E>) -> CheckRow {
    CheckRow {
        what: what.to_owned(),
        verdict: match verdict {
            Ok(text) => CheckResult::Good(text.to_string()),
            Err(error) => CheckResult::Fault(error.to_string()),
        },
    }
}

fn certificate(settings: &TlsSettings) -> Vec<CheckRow> {
    let tls = match Tls::open(settings.clone()) {
        Ok(tls) => tls,
        Err(error) => return vec![row("certificate", Err::<&str, _>(error))],
    };
    let certificate = tls.certificate();
    let verdict = if certificate.is_over() {
        CheckResult::Fault(certificate.to_string())
    } else if certificate.ends_soon() {
        CheckResult::Doubtful(format!("{certificate}: renew it"))
    } else {
        CheckResult::Good(certificate.to_string())
    };
    let mut rows = vec![CheckRow {
        what: "certificate".to_owned(),
        verdict,
    }];
    let mode = std::fs::metadata(&settings.key).map_or(0, |file| file.mode() & 0o777);
    if mode & 0o007 != 0 {
        let file = settings.key.display();
        rows.push(CheckRow {
            what: "private key".to_owned(),
            verdict: CheckResult::Doubtful(format!(
                "{file} is world-accessible (mode {mode:04o}): chmod 640"
            )),
        });
    }
    rows
}

fn free(address: std::net::SocketAddr) -> Result<String, String> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(format!("{address} available")),
        Err(error) => Err(format!("{address}: {error}")),
    }
}

fn http(places: &Places, secrets: &Secrets) -> Result<String, String> {
    if secrets.console_token.is_none() && !places.http.ip().is_loopback() {
        return Err(format!(
            "{}: WATCHTOWER_CONSOLE_TOKEN is required for non-loopback addresses",
            places.http
        ));
    }
    free(places.http)
}

fn writable(folder: &Path) -> Result<String, String> {
    let fault = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(fault)?;
    let probe = folder.join(".watchtower-check");
    // Not empty: on a full disk an empty file can still be created.
    let written = std::fs::write(&probe, [0; ROOM]);
    let removed = std::fs::remove_file(&probe);
    written.and(removed).map_err(fault)?;
    Ok(format!("{} writable", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_of_offline_rules_is_a_warning() {
        let checked = |model: &str, agent: &str, default| {
            let text = format!(
                "[model]\n{model}\n[[agent]]\nname = \"A\"\npersonality = \"p\"\nfocus = \"f\"\n\
                 [[agent]]\nname = \"B\"\npersonality = \"p\"\nfocus = \"f\"\n{agent}\n"
            );
            let panel = Panel::parse(&text, "agents.toml").unwrap();
            let row = language(&panel, default)?;
            assert_eq!(row.what, "language");
            Some(match row.verdict {
                CheckResult::Good(text) => ("ok", text),
                CheckResult::Doubtful(text) => ("warn", text),
                CheckResult::Fault(text) => ("ERROR", text),
            })
        };
        let (hosted, rules) = (Provider::Gemini, Provider::Offline);
        let set = "language = \"German\"";
        let warning = "requires a hosted model; offline rules report in English:";
        for (model, agent, default, expected) in [
            ("", "", rules, None),
            ("language = \"en\"", "", rules, None),
            (set, "", hosted, Some(("ok", "German".to_owned()))),
            (
                set,
                "",
                rules,
                Some(("warn", format!("German {warning} A, B"))),
            ),
            (
                set,
                "model = \"offline\"",
                hosted,
                Some(("warn", format!("German {warning} B"))),
            ),
            (
                set,
                "model = \"offline\"\nlanguage = \"English\"",
                hosted,
                Some(("ok", "German".to_owned())),
            ),
            (
                set,
                "model = \"offline\"\nenabled = false",
                hosted,
                Some(("ok", "German".to_owned())),
            ),
            (
                set,
                "fallback = [\"offline\"]\nlanguage = \"French\"",
                hosted,
                Some((
                    "ok",
                    "German, French; offline fallback in English".to_owned(),
                )),
            ),
        ] {
            assert_eq!(checked(model, agent, default), expected, "{model} {agent}");
        }
    }
}
