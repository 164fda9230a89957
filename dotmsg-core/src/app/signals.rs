//! Signals to shutdown steps: the first drains, the second gives up.
//!
//! The listeners are made once and kept: between two listeners a signal would be lost, and before the first one it ends
//! the process.

use super::AppHandle;

/// Drives the shutdown by SIGTERM and SIGINT; never resolves.
pub(super) async fn drive(mut signals: Signals, handle: AppHandle) {
    signals.next().await;
    tracing::info!("shutting down: draining; a second signal gives up what still runs");
    handle.drain();
    signals.next().await;
    tracing::warn!("giving up what still runs");
    handle.abandon();
    std::future::pending::<()>().await;
}

/// SIGTERM and SIGINT, from now on.
#[cfg(unix)]
pub(super) struct Signals {
    /// `None`: this process gets none.
    both: Option<[tokio::signal::unix::Signal; 2]>,
}

#[cfg(unix)]
impl Signals {
    /// Listens from now on.
    pub(super) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let both = signal(SignalKind::terminate())
            .and_then(|terminate| Ok([terminate, signal(SignalKind::interrupt())?]));
        if let Err(error) = &both {
            tracing::warn!(%error, "no signals: this process must be stopped by its handle");
        }
        Self { both: both.ok() }
    }

    /// The next signal.
    pub(super) async fn next(&mut self) {
        let Some([terminate, interrupt]) = &mut self.both else {
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Listens when it is asked.
    pub(super) fn listen() -> Self {
        Self
    }

    /// The next signal.
    pub(super) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::Signals;

    const CHILD: &str = "app::signals::tests::a_process_that_signals_itself";

    fn send(signal: &str) {
        let pid = std::process::id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Runs in a process of its own: signals are for all of it.
    #[tokio::test]
    #[ignore = "started by the test below"]
    async fn a_process_that_signals_itself() {
        let mut signals = Signals::listen();
        // Both before anybody waits for one: as in a start that takes its time.
        send("-TERM");
        send("-INT");
        let both = async {
            signals.next().await;
            signals.next().await;
        };
        tokio::time::timeout(Duration::from_secs(30), both)
            .await
            .expect("both are heard");
    }

    #[test]
    fn no_signal_is_lost_before_or_between_two_waits() {
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", CHILD])
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success(), "{}: {said}", ended.status);
        assert!(said.contains("1 passed"), "{said}");
    }
}
