//! The command line: flags, their twins in the environment, and what each
//! command prints.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::app::config::Places;

/// Live screen share in over RTMP, a panel of AI analysts in front of it,
/// findings with proof out.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take streams in and let the panel look at them.
    Serve(ServeArgs),
    /// Tell whether everything `serve` needs is in order; exit 1 if not.
    Check(PlacesArgs),
    /// Push a media file (H.264, AAC) over RTMP in real time. The stream key
    /// comes from WATCHTOWER_STREAM_KEY.
    Publish(PublishArgs),
    /// Let the panel look at a recorded file, faster than real time, and print
    /// what it finds.
    Replay(ReplayArgs),
    /// The same on a labelled recording, and print how good it was: precision,
    /// recall, time to detect, repeats, what was sent.
    Eval(EvalArgs),
    /// Run one persona here on a stream of another server, over WebRTC (WHEP).
    /// The server's token comes from WATCHTOWER_CONSOLE_TOKEN.
    Agent(AgentArgs),
    /// Whom findings are told to ([sinks.NAME] in watchtower.toml).
    #[command(subcommand)]
    Sink(SinkCommand),
}

#[derive(Debug, Subcommand)]
pub enum SinkCommand {
    /// Send a marked sample and tell what the other side said; exit 1 if one
    /// did not take it.
    Test(SinkTestArgs),
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub places: PlacesArgs,
    /// Written, for its owner alone, once everything is open: the process, the
    /// addresses, the analysts' logs. For scripts that start the server.
    #[arg(long, env = "WATCHTOWER_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct SinkTestArgs {
    /// Which one; default all that are on.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Where they are described.
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
    /// Who looks: a name of agents.toml, enabled there or not.
    #[arg(long, env = "WATCHTOWER_PERSONA", value_name = "NAME")]
    pub persona: String,
    /// What to look at, for instance http://host:8080/whep/team. The token is
    /// sent there.
    #[arg(long, env = "WATCHTOWER_WHEP", value_name = "URL")]
    pub whep: String,
    /// The Watchtower to tell what was found, for instance http://host:8080.
    /// The token is sent there.
    #[arg(long, env = "WATCHTOWER_REPORT", value_name = "URL")]
    pub report: Option<String>,
    /// Where the personas are described.
    #[arg(
        long,
        env = "WATCHTOWER_CONFIG",
        default_value = "agents.toml",
        value_name = "FILE"
    )]
    pub config: PathBuf,
    /// How it behaves; may be absent.
    #[arg(
        long,
        env = "WATCHTOWER_SETTINGS",
        default_value = "watchtower.toml",
        value_name = "FILE"
    )]
    pub settings: PathBuf,
    /// Where findings.jsonl and the agent's log lie; a folder for each process.
    #[arg(
        long,
        env = "WATCHTOWER_LOGS",
        default_value = "logs",
        value_name = "FOLDER"
    )]
    pub logs: PathBuf,
    /// Where the OCR model lies (scripts/fetch-models.sh gets it).
    #[arg(
        long,
        env = "WATCHTOWER_MODELS",
        default_value = "models",
        value_name = "FOLDER"
    )]
    pub models: PathBuf,
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
    /// What there is to find (docs/evaluation.md has the format).
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,
    /// Where the figures go as JSON besides.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Compared with a model that is sent a picture so often, changed or not.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = some_time)]
    pub every: Duration,
}

fn some_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time >= Duration::from_millis(100) => Ok(time),
        _ => Err("expected a time of at least 100ms, for instance 5s".to_owned()),
    }
}

/// What is played, and by whom it is looked at.
#[derive(Debug, Args)]
pub struct LookArgs {
    /// The recording: whatever FFmpeg reads.
    pub file: PathBuf,
    /// Who looks at the screen.
    #[arg(
        long,
        env = "WATCHTOWER_CONFIG",
        default_value = "agents.toml",
        value_name = "FILE"
    )]
    config: PathBuf,
    /// How the server behaves; may be absent.
    #[arg(
        long,
        env = "WATCHTOWER_SETTINGS",
        default_value = "watchtower.toml",
        value_name = "FILE"
    )]
    settings: PathBuf,
    /// Where the OCR model lies (scripts/fetch-models.sh gets it).
    #[arg(
        long,
        env = "WATCHTOWER_MODELS",
        default_value = "models",
        value_name = "FOLDER"
    )]
    models: PathBuf,
    /// Where logs, store and evidence are kept; nowhere without it.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Play the model's answers from this file instead of asking it.
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    cassette: Option<PathBuf>,
    /// Record the model's answers in this file.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

impl LookArgs {
    /// Nothing is listened on.
    pub fn places(&self) -> Places {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Places {
            config: self.config.clone(),
            settings: self.settings.clone(),
            rtmp: nowhere,
            rtmps: None,
            http: nowhere,
            webrtc: nowhere,
            public_address: None,
            data: PathBuf::new(),
            logs: PathBuf::new(),
            models: self.models.clone(),
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
        }
    }
}

#[derive(Debug, Args)]
pub struct PlacesArgs {
    /// Who looks at the screen.
    #[arg(
        long,
        env = "WATCHTOWER_CONFIG",
        default_value = "agents.toml",
        value_name = "FILE"
    )]
    config: PathBuf,
    /// How the server behaves; may be absent.
    #[arg(
        long,
        env = "WATCHTOWER_SETTINGS",
        default_value = "watchtower.toml",
        value_name = "FILE"
    )]
    settings: PathBuf,
    /// Where publishers connect.
    #[arg(
        long,
        env = "WATCHTOWER_RTMP",
        default_value = "0.0.0.0:1935",
        value_name = "ADDRESS"
    )]
    rtmp: SocketAddr,
    /// Where publishers connect encrypted (RTMPS), for instance 0.0.0.0:1936.
    /// Needs [tls] in watchtower.toml.
    #[arg(long, env = "WATCHTOWER_RTMPS", value_name = "ADDRESS")]
    rtmps: Option<SocketAddr>,
    /// Where the API and console answer; HTTPS with [tls] in watchtower.toml. Beyond loopback it needs
    /// WATCHTOWER_CONSOLE_TOKEN.
    #[arg(
        long,
        env = "WATCHTOWER_HTTP",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS"
    )]
    http: SocketAddr,
    /// Where viewers' media flows over WebRTC, on UDP and TCP alike.
    #[arg(
        long,
        env = "WATCHTOWER_WEBRTC",
        default_value = "0.0.0.0:8189",
        value_name = "ADDRESS"
    )]
    webrtc: SocketAddr,
    /// The address or name viewers reach this machine by, if it is behind NAT.
    #[arg(long, env = "WATCHTOWER_PUBLIC_ADDRESS", value_name = "ADDRESS")]
    public_address: Option<String>,
    /// Where the database and evidence lie.
    #[arg(
        long,
        env = "WATCHTOWER_DATA",
        default_value = "data",
        value_name = "FOLDER"
    )]
    data: PathBuf,
    /// Where findings.jsonl and the agents' logs lie.
    #[arg(
        long,
        env = "WATCHTOWER_LOGS",
        default_value = "logs",
        value_name = "FOLDER"
    )]
    logs: PathBuf,
    /// Where the OCR model lies (scripts/fetch-models.sh gets it).
    #[arg(
        long,
        env = "WATCHTOWER_MODELS",
        default_value = "models",
        value_name = "FOLDER"
    )]
    models: PathBuf,
}

impl From<PlacesArgs> for Places {
    fn from(args: PlacesArgs) -> Self {
        Self {
            config: args.config,
            settings: args.settings,
            rtmp: args.rtmp,
            rtmps: args.rtmps,
            http: args.http,
            data: args.data,
            webrtc: args.webrtc,
            public_address: args.public_address,
            logs: args.logs,
            models: args.models,
        }
    }
}

#[derive(Debug, Args)]
pub struct PublishArgs {
    /// What to push, for instance demo/demo.mp4.
    pub file: PathBuf,
    /// Where to, without the key: rtmp://HOST:1935/live/NAME
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// Start again at the end of the file, until stopped.
    #[arg(long = "loop")]
    pub looping: bool,
}

/// Reads `.env` in the working directory, if there is one. The error never
/// shows the line it is about: there may be a secret on it.
pub fn load_env_file() -> Result<(), String> {
    let file = Path::new(".env");
    if !file.exists() {
        return Ok(());
    }
    dotenvy::from_path(file).map_err(|error| match error {
        dotenvy::Error::Io(error) => format!("failed to read .env: {error}"),
        _ => "failed to read .env: every line must be NAME=value or a # comment; quote values with spaces".to_owned(),
    })
}

/// What is played, and by whom it is looked at.
#[derive(Debug)]
pub struct ReplaySettings {
    pub file: PathBuf,
    /// Where logs and store are kept; nowhere without it.
    pub out: Option<PathBuf>,
    /// Answers played back instead of asking a model.
    pub cassette: Option<PathBuf>,
    /// Where the answers given are recorded.
    pub record: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_serve_and_agent_has_its_twin() {
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
