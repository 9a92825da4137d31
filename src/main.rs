use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use watchtower::cli::Cli;

/// From this size on memory goes back to the system when it is freed. Pictures
/// would otherwise be cut out of ever more of glibc's arenas, one a thread, and
/// a server that looks for days would seem to leak.
#[cfg(target_env = "gnu")]
const GIVEN_BACK: libc::c_int = 256 * 1024;

fn main() -> ExitCode {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only sets a number, and no other thread is there yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, GIVEN_BACK);
    }
    // What was on the screens is this user's alone, whatever the shell allows.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Before any thread is there: it sets environment variables.
    if let Err(reason) = watchtower::cli::load_env_file() {
        eprintln!("watchtower: {reason}");
        return ExitCode::FAILURE;
    }
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
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
    let result = runtime.block_on(watchtower::app::execute(cli.command));
    // What still blocks a thread after the drain must not hold up the exit.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("watchtower: {error:#}");
            ExitCode::FAILURE
        }
    }
}
