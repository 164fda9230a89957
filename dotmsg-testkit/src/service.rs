//! A whole app on the backend under test: what a case starts, stops and crashes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use dotmsg_core::app::{App, AppHandle, AppReport, NoAdapters, RouteHandle};
use dotmsg_core::backend::{Backend, BoxFuture};
use dotmsg_core::config::{Config, RouteDefaults};
use dotmsg_core::delivery::Delivery;
use dotmsg_core::error::{Error, Result};
use dotmsg_core::handler::{Handler, HandlerError};
use dotmsg_core::runtime::RouteStats;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::calls::Calls;
use crate::wait::{until, within};

/// What the handlers of cases return.
pub(crate) type Handled = std::result::Result<(), HandlerError>;

/// A handler that notes its calls and then does what `does` says.
pub(crate) fn noting<F, Fut>(
    calls: &Calls,
    by: usize,
    does: F,
) -> impl Fn(Delivery) -> BoxFuture<'static, Handled> + Clone + Send + Sync + 'static
where
    F: Fn(Delivery) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Handled> + Send + 'static,
{
    let calls = calls.clone();
    move |delivery: Delivery| {
        let (calls, does) = (calls.clone(), does.clone());
        Box::pin(async move {
            let number = calls.begin(by, &delivery);
            let handled = does(delivery).await;
            calls.end(number, handled.is_ok());
            handled
        })
    }
}

/// Succeeds.
pub(crate) async fn well(_: Delivery) -> Handled {
    Ok(())
}

/// Takes a little, and succeeds.
pub(crate) async fn works(_: Delivery) -> Handled {
    sleep(WORK).await;
    Ok(())
}

/// Fails the first attempt of the first message of key `a`, and nothing else.
pub(crate) async fn fails_a_0_once(delivery: Delivery) -> Handled {
    match (&*delivery.id(), delivery.attempt()) {
        (b"a-0", 1) => Err(transient("not yet")),
        _ => Ok(()),
    }
}

pub(crate) fn transient(text: &'static str) -> HandlerError {
    HandlerError::transient(text)
}

pub(crate) fn permanent(text: &'static str) -> HandlerError {
    HandlerError::permanent(text)
}

/// An app whose route runs. Dropping it is a crash that nobody waits for.
pub(crate) struct Service {
    pub(crate) handle: AppHandle,
    /// `None` once its end was seen.
    task: Option<JoinHandle<Result<AppReport>>>,
}

impl Service {
    pub(crate) async fn try_start<T: 'static>(
        backend: Arc<dyn Backend>,
        route: RouteDefaults,
        handler: impl Handler<T, ()>,
    ) -> Result<Self> {
        let app = App::<(), NoAdapters>::with_config(Config::new())
            .backend("main", backend)
            .route(route, handler);
        let running = within("the app starts", app.start()).await?;
        Ok(Self {
            handle: running.handle().clone(),
            task: Some(tokio::spawn(running.wait())),
        })
    }

    pub(crate) async fn start<T: 'static>(
        backend: Arc<dyn Backend>,
        route: RouteDefaults,
        handler: impl Handler<T, ()>,
    ) -> Self {
        match Self::try_start(backend, route, handler).await {
            Ok(service) => service,
            Err(error) => panic!("the app does not start: {error}"),
        }
    }

    pub(crate) fn route(&self) -> &RouteHandle {
        &self.handle.routes()[0]
    }

    pub(crate) fn stats(&self) -> &RouteStats {
        &self.route().stats
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until the counters are as they should be.
    #[track_caller]
    pub(crate) fn until(
        &self,
        what: &str,
        is: impl Fn(&RouteStats) -> bool,
    ) -> impl Future<Output = ()> {
        let what = format!("{what}: {:?} at first", self.stats());
        let (stats, is) = (Arc::clone(&self.route().stats), Arc::new(is));
        let ended = self.task.as_ref().map(JoinHandle::abort_handle);
        async move {
            until(&what, || {
                let gone = ended.as_ref().is_none_or(|task| task.is_finished());
                assert!(!gone, "the app ended while the case waited: {what}");
                let done = is(&stats);
                async move { done.then_some(()) }
            })
            .await;
        }
    }

    /// Waits until every message of its topic is settled by the committed positions, and nobody is away.
    pub(crate) async fn settled(&self) {
        let route = self.route();
        until("everything is settled", || async {
            assert!(!self.has_ended(), "the app ended with work left");
            match route.is_settled().await {
                Ok(true) => Some(()),
                Ok(false) => None,
                Err(error) => panic!("the positions are not told: {error}"),
            }
        })
        .await;
    }

    /// Drains as on SIGTERM.
    pub(crate) async fn drain(mut self) -> AppReport {
        self.handle.drain();
        match self.end().await {
            Ok(report) => report,
            Err(error) => panic!("the app failed: {error}"),
        }
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self) -> Result<AppReport> {
        let Some(task) = self.task.take() else {
            panic!("the app has ended before");
        };
        match within("the app ends", task).await {
            Ok(ended) => ended,
            Err(error) => panic!("the app panicked: {error}"),
        }
    }

    /// Waits for its end however long that takes; may be dropped.
    pub(crate) async fn ended(&mut self) {
        if let Some(task) = &mut self.task {
            // However it ends.
            let _ = task.await;
        }
        self.task = None;
    }

    /// The error it ends with by itself.
    pub(crate) async fn failure(&mut self) -> Error {
        match self.end().await {
            Ok(report) => panic!("the app ended without an error: {report:?}"),
            Err(error) => error,
        }
    }

    /// Ends as a killed process does: nothing is drained, nothing is committed. Returns when nothing of it is left.
    pub(crate) async fn crash(mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // Whether it still ran makes no difference to a crash.
            let _ = task.await;
        }
        let stats = Arc::clone(&self.route().stats);
        // Two are this function's own and the handle's.
        until("the crashed app is gone", || async {
            (Arc::strong_count(&stats) == 2).then_some(())
        })
        .await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// How long a handler of a case pretends to work.
pub(crate) const WORK: Duration = Duration::from_millis(2);
