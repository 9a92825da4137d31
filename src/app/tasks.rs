//! Long-lived tasks: their supervision, their names in the log, and the signal that ends them.

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Cancelled by the first SIGINT or SIGTERM; the second one exits at once.
pub(crate) fn shutdown_signal() -> anyhow::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if cancelled.is_cancelled() {
                std::process::exit(130);
            }
            cancelled.cancel();
        }
    });
    Ok(token)
}

/// Waits for the signal, or for something essential to end before it.
pub(crate) async fn supervise(
    essential: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        // First: a task that ends because it was told to is no failure.
        biased;
        () = shutdown.cancelled() => Ok(()),
        Some(ended) = essential.join_next() => match ended {
            Ok((task, Ok(()))) => bail!("{task} ended by itself"),
            Ok((task, Err(error))) => Err(error.context(format!("{task} failed"))),
            Err(error) => Err(error).context("an essential task panicked"),
        },
    }
}

pub(crate) async fn name(
    task: &'static str,
    work: impl Future<Output = anyhow::Result<()>>,
) -> (&'static str, anyhow::Result<()>) {
    (task, work.await)
}

pub(crate) async fn done(work: impl Future<Output = ()>) -> anyhow::Result<()> {
    work.await;
    Ok(())
}

pub(crate) async fn served(work: impl Future<Output = std::io::Result<()>>) -> anyhow::Result<()> {
    Ok(work.await?)
}
