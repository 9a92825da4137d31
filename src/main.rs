use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use watchtower::app::cli::{Cli, Command};

/// From this size on memory goes back to the system when it is freed. Pictures
/// would otherwise be cut out of ever more of glibc's arenas, one a thread, and
/// a server that looks for days would seem to leak.
#[cfg(target_env = "gnu")]
const GIVEN_BACK: libc::c_int = 256 * 1024;

/// Default log filter, used if `RUST_LOG` is unset. The libraries under WebRTC tell
/// of each step of each viewer, and warn of every TLS extension they don't
/// know, which a server is meant to ignore (RFC 5246, section 7.4.1.4); what
/// else they warn of is heard.
const LOGGED: &str = "info,rtc=warn,rtc_ice=warn,rtc_dtls=warn,rtc_srtp=warn,rtc_sctp=warn,\
                      webrtc=warn,rtc_dtls::handshake::handshake_message_client_hello=error";

fn main() -> ExitCode {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only sets a number, and no other thread is there yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, GIVEN_BACK);
    }
    // Screen contents are this user's alone, whatever the shell's umask allows.
    watchtower::app::private::close_new_files();
    // Before any thread is there: it sets environment variables.
    if let Err(reason) = watchtower::app::cli::load_env_file() {
        eprintln!("watchtower: {reason}");
        return ExitCode::FAILURE;
    }
    let cli = Cli::parse();
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = Some(wanted.trim())
        .filter(|wanted| !wanted.is_empty())
        .and_then(|wanted| EnvFilter::try_new(wanted).ok())
        .unwrap_or_else(|| EnvFilter::new(LOGGED));
    // Standard output of this command is JSON.
    let explains = matches!(cli.command, Command::Explain(_));
    let writer = match explains {
        true => BoxMakeWriter::new(std::io::stderr),
        false => BoxMakeWriter::new(std::io::stdout),
    };
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let terminal = colours && !explains;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(terminal)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("watchtower: failed to start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(watchtower::app::commands::execute(cli.command));
    // Threads still blocked after the drain must not hold up the exit.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("watchtower: {error:#}");
            ExitCode::FAILURE
        }
    }
}
