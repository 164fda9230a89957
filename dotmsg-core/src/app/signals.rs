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

    use std::sync::Arc;

    use super::Signals;
    use crate::app::{App, NoAdapters};
    use crate::backend::{Backend, PublishRecord};
    use crate::clock::SystemClock;
    use crate::config::{Config, RouteDefaults};
    use crate::delivery::Delivery;
    use crate::log::{LogBroker, LogOptions};
    use crate::message::Message;

    fn send(signal: &str) {
        let pid = std::process::id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Both signals before anybody waits for one, as in a start that takes its time.
    ///
    /// Runs in a process of its own, like the next: signals are for all of it.
    #[tokio::test]
    #[ignore = "started by a test below"]
    async fn child_signals_before_the_wait() {
        let mut signals = Signals::listen();
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

    /// Both right behind one another, to an app whose handler never ends: only the second one lets it go.
    #[tokio::test]
    #[ignore = "started by a test below"]
    async fn child_signals_to_an_app() {
        let (called, was_called) = tokio::sync::oneshot::channel();
        let called = Arc::new(std::sync::Mutex::new(Some(called)));
        let hangs = move |_: Delivery| {
            let called = called.lock().unwrap().take();
            async move {
                if let Some(called) = called {
                    called.send(()).unwrap();
                }
                std::future::pending::<()>().await;
            }
        };
        let mut options = LogOptions::new(Arc::new(SystemClock));
        options.auto_create = true;
        let log = LogBroker::memory(options);
        let record = PublishRecord {
            topic: "orders".into(),
            partition: None,
            message: Message::new("x"),
        };
        log.publisher().publish(vec![record]).await;
        let bill = RouteDefaults::new("bill")
            .with("topic", "orders")
            .with("group", "billing")
            .with("drain_timeout", "1h");
        let app = App::<(), NoAdapters>::with_config(Config::new())
            .backend("main", Arc::new(log))
            .route(bill, hangs);
        let signals = async {
            was_called.await.unwrap();
            send("-INT");
            send("-TERM");
            std::future::pending::<()>().await;
        };
        let report = tokio::time::timeout(Duration::from_secs(60), async {
            tokio::select! {
                report = app.run() => report.unwrap(),
                () = signals => unreachable!(),
            }
        });
        let report = report.await.expect("the second signal ends it");
        assert_eq!(report.routes[0].abandoned, 1);
    }

    fn passes_in_a_process_of_its_own(test: &str) {
        let ended = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                &format!("app::signals::tests::{test}"),
            ])
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success(), "{}: {said}", ended.status);
        assert!(said.contains("1 passed"), "{said}");
    }

    #[test]
    fn no_signal_is_lost_before_or_between_two_waits() {
        passes_in_a_process_of_its_own("child_signals_before_the_wait");
    }

    #[test]
    fn an_interrupt_drains_and_a_termination_right_behind_it_gives_up() {
        passes_in_a_process_of_its_own("child_signals_to_an_app");
    }
}
