//! Command line: flags, their environment variables, and the settings of each
//! command.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;

use watchtower_domain::agent_name::is_agent_name;
use watchtower_domain::finding::Severity;

use crate::config::Places;

/// AI analysts for a live screen share: RTMP in, WebRTC out, findings with
/// evidence.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(ServeArgs),
    /// Validate configuration and environment; exit 1 on errors.
    Check(PlacesArgs),
    /// Publish a media file (H.264, AAC) over RTMP in real time. The stream key
    /// is read from WATCHTOWER_STREAM_KEY.
    Publish(PublishArgs),
    /// Analyse a recording, faster than real time, and print the findings.
    Replay(ReplayArgs),
    /// Evaluate the analysts on a labelled recording: precision, recall, time
    /// to detect, duplicates, data sent.
    Eval(EvalArgs),
    /// Print the elements of a screen (tables, cards, badges, log lines ...) as
    /// JSON, and draw them over the picture.
    Explain(ExplainArgs),
    /// Run one analyst on a stream of a remote server, over WebRTC (WHEP). The
    /// server's token is read from WATCHTOWER_CONSOLE_TOKEN.
    Agent(AgentArgs),
    /// Output sinks ([sinks.NAME] in watchtower.toml).
    #[command(subcommand)]
    Sink(SinkCommand),
    /// Follow the findings of one or all analysts in a terminal, a line each.
    Tail(TailArgs),
}

#[derive(Debug, Subcommand)]
pub enum SinkCommand {
    /// Send a test event to the sinks and print the responses; exit 1 if one
    /// is rejected.
    Test(SinkTestArgs),
}

// Without a doc comment, which clap would show as the help of the command.
#[derive(Debug, Clone, Args)]
pub struct ConfigFiles {
    /// Analyst configuration file.
    #[arg(
        long,
        env = "WATCHTOWER_CONFIG",
        default_value = "agents.toml",
        value_name = "FILE"
    )]
    pub config: PathBuf,
    /// Server settings file (optional).
    #[arg(
        long,
        env = "WATCHTOWER_SETTINGS",
        default_value = "watchtower.toml",
        value_name = "FILE"
    )]
    pub settings: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct OcrModels {
    /// OCR model directory (see scripts/fetch-models.sh).
    #[arg(
        long,
        env = "WATCHTOWER_MODELS",
        default_value = "models",
        value_name = "FOLDER"
    )]
    pub models: PathBuf,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub places: PlacesArgs,
    /// Ready file, owner-only: process id, addresses, analysts and their logs, written
    /// once the server is ready. For start scripts.
    #[arg(long, env = "WATCHTOWER_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct SinkTestArgs {
    /// Sink to test [default: all enabled].
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Server settings file.
    #[arg(
        long,
        env = "WATCHTOWER_SETTINGS",
        default_value = "watchtower.toml",
        value_name = "FILE"
    )]
    pub settings: PathBuf,
}

#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Analyst to run: a name in agents.toml, enabled or not.
    #[arg(long, env = "WATCHTOWER_PERSONA", value_name = "NAME")]
    pub persona: String,
    /// WHEP URL of the stream, e.g. http://host:8080/whep/team. The token is
    /// sent to it.
    #[arg(long, env = "WATCHTOWER_WHEP", value_name = "URL")]
    pub whep: String,
    /// Server that receives the findings, e.g. http://host:8080. The token is
    /// sent to it.
    #[arg(long, env = "WATCHTOWER_REPORT", value_name = "URL")]
    pub report: Option<String>,
    #[command(flatten)]
    pub files: ConfigFiles,
    /// Log directory (findings.jsonl, analyst log); one per process.
    #[arg(
        long,
        env = "WATCHTOWER_LOGS",
        default_value = "logs",
        value_name = "FOLDER"
    )]
    pub logs: PathBuf,
    #[command(flatten)]
    pub ocr: OcrModels,
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    pub look: LookArgs,
}

#[derive(Debug, Args)]
pub struct EvalArgs {
    #[command(flatten)]
    pub look: LookArgs,
    /// Label file (format: docs/evaluation.md).
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,
    /// Also write the metrics to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Baseline for comparison: one picture per interval, changed or not.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = some_time)]
    pub every: Duration,
}

fn some_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time >= Duration::from_millis(100) => Ok(time),
        _ => Err("expected a duration of at least 100ms, e.g. 5s".to_owned()),
    }
}

#[derive(Debug, Args)]
pub struct TailArgs {
    /// Analyst, e.g. SecOps [default: all].
    #[arg(value_name = "ANALYST", value_parser = analyst_name)]
    pub analyst: Option<String>,
    /// Log directory.
    #[arg(
        long,
        env = "WATCHTOWER_LOGS",
        default_value = "logs",
        value_name = "FOLDER"
    )]
    pub logs: PathBuf,
    /// Minimum severity: critical, high, medium, low or info.
    #[arg(long, value_name = "SEVERITY", default_value = "info", value_parser = severity)]
    pub severity: Severity,
    /// Findings of this stream only.
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
    /// Findings since then: a duration before now (10m) or a time
    /// (2026-11-29T10:00:00Z).
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Timestamp>,
    /// Earlier findings shown at first [default: 40; all with --since].
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub lines: Option<usize>,
    /// Show quotes, detail and recommended action too.
    #[arg(long)]
    pub details: bool,
    /// Print what is there and exit.
    #[arg(long)]
    pub no_follow: bool,
    /// Colours; auto: on a terminal, unless NO_COLOR is set.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: clap::ColorChoice,
}

fn analyst_name(text: &str) -> Result<String, String> {
    if is_agent_name(text) {
        return Ok(text.to_owned());
    }
    Err("expected a name of up to 32 letters, digits, '-' or '_'".to_owned())
}

fn severity(text: &str) -> Result<Severity, String> {
    let known = Severity::ALL.into_iter().find(|one| one.as_str() == text);
    known.ok_or_else(|| "expected critical, high, medium, low or info".to_owned())
}

fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let before = humantime::parse_duration(text).ok();
    before
        .and_then(|before| Timestamp::now().checked_sub(before).ok())
        .ok_or_else(|| "expected a duration (10m) or a time (2026-11-29T10:00:00Z)".to_owned())
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Screenshot, PNG or JPEG.
    #[arg(value_name = "PICTURE")]
    pub picture: PathBuf,
    /// Also draw the elements over the redacted picture, into this file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Analyst configuration file, for its redaction settings [default: secrets
    /// are redacted].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub ocr: OcrModels,
}

/// Recording to play, and configuration of the analysts and the server.
#[derive(Debug, Args)]
pub struct LookArgs {
    /// Recording in any format FFmpeg reads.
    pub file: PathBuf,
    #[command(flatten)]
    files: ConfigFiles,
    #[command(flatten)]
    ocr: OcrModels,
    /// Output directory for logs, database and evidence [default: none].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Replay model responses from this file.
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    cassette: Option<PathBuf>,
    /// Record model responses to this file.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Give hosted models the text line by line, without the rows of tables and
    /// the labels of values, to compare their findings.
    #[arg(long)]
    plain_text: bool,
}

impl LookArgs {
    /// Addresses of a replay, which does not listen.
    pub fn places(&self) -> Places {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Places {
            config: self.files.config.clone(),
            settings: self.files.settings.clone(),
            rtmp: nowhere,
            rtmps: None,
            http: nowhere,
            webrtc: nowhere,
            public_address: None,
            data: PathBuf::new(),
            logs: PathBuf::new(),
            models: self.ocr.models.clone(),
        }
    }
}

impl From<LookArgs> for ReplaySettings {
    fn from(args: LookArgs) -> Self {
        Self {
            file: args.file,
            out: args.out,
            cassette: args.cassette,
            record: args.record,
            plain_text: args.plain_text,
        }
    }
}

#[derive(Debug, Args)]
pub struct PlacesArgs {
    #[command(flatten)]
    files: ConfigFiles,
    /// RTMP listen address.
    #[arg(
        long,
        env = "WATCHTOWER_RTMP",
        default_value = "0.0.0.0:1935",
        value_name = "ADDRESS"
    )]
    rtmp: SocketAddr,
    /// RTMPS listen address, e.g. 0.0.0.0:1936. Requires [tls] in
    /// watchtower.toml.
    #[arg(long, env = "WATCHTOWER_RTMPS", value_name = "ADDRESS")]
    rtmps: Option<SocketAddr>,
    /// HTTP listen address (API and console); HTTPS with [tls] in
    /// watchtower.toml. Non-loopback addresses require
    /// WATCHTOWER_CONSOLE_TOKEN.
    #[arg(
        long,
        env = "WATCHTOWER_HTTP",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS"
    )]
    http: SocketAddr,
    /// WebRTC listen address (UDP and TCP).
    #[arg(
        long,
        env = "WATCHTOWER_WEBRTC",
        default_value = "0.0.0.0:8189",
        value_name = "ADDRESS"
    )]
    webrtc: SocketAddr,
    /// Public address or host name for WebRTC behind NAT.
    #[arg(long, env = "WATCHTOWER_PUBLIC_ADDRESS", value_name = "ADDRESS")]
    public_address: Option<String>,
    /// Data directory (database, evidence).
    #[arg(
        long,
        env = "WATCHTOWER_DATA",
        default_value = "data",
        value_name = "FOLDER"
    )]
    data: PathBuf,
    /// Log directory (findings.jsonl, analyst logs).
    #[arg(
        long,
        env = "WATCHTOWER_LOGS",
        default_value = "logs",
        value_name = "FOLDER"
    )]
    logs: PathBuf,
    #[command(flatten)]
    ocr: OcrModels,
}

impl From<PlacesArgs> for Places {
    fn from(args: PlacesArgs) -> Self {
        Self {
            config: args.files.config,
            settings: args.files.settings,
            rtmp: args.rtmp,
            rtmps: args.rtmps,
            http: args.http,
            data: args.data,
            webrtc: args.webrtc,
            public_address: args.public_address,
            logs: args.logs,
            models: args.ocr.models,
        }
    }
}

#[derive(Debug, Args)]
pub struct PublishArgs {
    /// Media file, e.g. demo/demo.mp4.
    pub file: PathBuf,
    /// RTMP URL without the key: rtmp://HOST:1935/live/NAME
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// Loop the file until stopped.
    #[arg(long = "loop")]
    pub looping: bool,
}

/// Reads `.env` in the working directory, if there is one. The error leaves the
/// line out, as it may contain a secret.
pub fn load_env_file() -> Result<(), String> {
    let file = Path::new(".env");
    if !file.exists() {
        return Ok(());
    }
    dotenvy::from_path(file).map_err(|error| match error {
        dotenvy::Error::Io(error) => format!("failed to read .env: {error}"),
        _ => "failed to read .env: expected NAME=value or a # comment on every line; quote values with spaces".to_owned(),
    })
}

/// Settings of a replay: recording, output folder, and cassettes.
#[derive(Debug)]
pub struct ReplaySettings {
    pub file: PathBuf,
    /// Output folder of logs and store; `None` keeps nothing.
    pub out: Option<PathBuf>,
    /// Cassette that is replayed instead of a model.
    pub cassette: Option<PathBuf>,
    /// Cassette that model responses are recorded to.
    pub record: Option<PathBuf>,
    /// Flag: text line by line, without the structure of the screen.
    pub plain_text: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn cli_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn values_of_tail_are_checked() {
        let parsed = |args: &[&str]| {
            let args = ["watchtower", "tail"].iter().chain(args);
            match Cli::try_parse_from(args) {
                Ok(Cli {
                    command: Command::Tail(args),
                }) => Ok(args),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error.to_string()),
            }
        };
        let args = parsed(&["SecOps", "--severity", "high", "--since", "10m"]).unwrap();
        assert_eq!(args.severity, Severity::High);
        let before = Timestamp::now().duration_since(args.since.unwrap());
        assert!((600..660).contains(&before.as_secs()), "{before}");
        let args = parsed(&["--since", "2026-11-29T10:00:00Z"]).unwrap();
        assert_eq!(
            args.since.map(|at| at.to_string()).as_deref(),
            Some("2026-11-29T10:00:00Z")
        );
        for (args, value, expected) in [
            (&["../secops"][..], "../secops", "letters, digits"),
            (&["--severity", "huge"], "huge", "critical, high"),
            (&["--since", "yesterday"], "yesterday", "a duration"),
            (&["--lines", "many"], "many", "invalid digit"),
        ] {
            let error = parsed(args).unwrap_err();
            assert!(error.contains(value) && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn every_flag_has_an_environment_variable() {
        let cli = Cli::command();
        for (command, count) in [("serve", 11), ("agent", 7)] {
            let command = cli.find_subcommand(command).unwrap();
            let flags: Vec<_> = command
                .get_arguments()
                .filter_map(|arg| Some((arg.get_long()?, arg.get_env()?)))
                .collect();
            assert_eq!(flags.len(), count);
            for (flag, env) in flags {
                let twin = format!("WATCHTOWER_{}", flag.to_uppercase().replace('-', "_"));
                assert_eq!(env.to_str(), Some(twin.as_str()));
            }
        }
    }
}
