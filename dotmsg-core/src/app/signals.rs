//! Signals to shutdown steps: the first drains, the second gives up.

use super::AppHandle;

/// Drives the shutdown by SIGTERM and SIGINT; never resolves.
pub(super) async fn drive(handle: AppHandle) {
    signal().await;
    tracing::info!("shutting down: draining; a second signal gives up what still runs");
    handle.drain();
    signal().await;
    tracing::warn!("giving up what still runs");
    handle.abandon();
    std::future::pending::<()>().await;
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    match (terminate, interrupt) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                biased;
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "no signals: this process must be stopped by its handle");
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(not(unix))]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
