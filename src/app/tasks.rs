//! Long-lived tasks: supervision, names in the log, and the shutdown signal.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Time limit of the drain: exit within 5 s of Ctrl-C, with a margin for
/// closing the runtime.
const DRAIN: Duration = Duration::from_secs(4);

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

/// Waits for the signal, or for an essential task to end before it.
pub(crate) async fn supervise(
    essential: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        // First: a task that ends because it was cancelled is no failure.
        biased;
        () = shutdown.cancelled() => Ok(()),
        Some(ended) = essential.join_next() => match ended {
            Ok((task, Ok(()))) => bail!("{task} ended unexpectedly"),
            Ok((task, Err(error))) => Err(error.context(format!("{task} failed"))),
            Err(error) => Err(error).context("an essential task panicked"),
        },
    }
}

/// Waits for cancelled tasks, then for the writer of findings, and abandons
/// those that take longer than [`DRAIN`]. `lines` prints findings: it holds the
/// last publisher, without which the writer ends.
pub(crate) async fn drain(
    mut essential: JoinSet<(&'static str, anyhow::Result<()>)>,
    lines: JoinHandle<()>,
    writer: std::thread::JoinHandle<()>,
) {
    let drained = async {
        while essential.join_next().await.is_some() {}
        lines.abort();
        let _ = lines.await;
        let _ = tokio::task::spawn_blocking(|| writer.join()).await;
    };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("shutdown incomplete after {} s", DRAIN.as_secs());
    }
    tracing::info!("stopped");
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
