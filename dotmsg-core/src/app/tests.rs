//! Apps that must not start, and one whose broker does not let it end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{App, NoAdapters};
use crate::backend::{
    Admin, Backend, BoxFuture, Capability, Membership, Publisher, Reader, Subscription,
};
use crate::clock::{Timestamp, TokioClock};
use crate::config::{Config, RouteDefaults};
use crate::error::{ErrorKind, Result};
use crate::log::{LogBroker, LogOptions};

fn app() -> App<(), NoAdapters> {
    App::with_config(Config::new().default_value("backend.main.url", "memory:"))
}

async fn nothing() {}

#[tokio::test]
async fn handlers_from_before_the_state_are_refused_and_not_forgotten() {
    let bill = RouteDefaults::new("bill")
        .with("topic", "orders")
        .with("group", "billing");
    let error = app()
        .route(bill, nothing)
        .state(7_u8)
        .run()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(
        text.contains("handlers bill") && text.contains("App::state before"),
        "{text}"
    );
}

#[tokio::test]
async fn an_app_without_handlers_does_not_pretend_to_be_done() {
    let error = app().run().await.unwrap_err();
    assert!(error.to_string().contains("no handlers"), "{error}");
}

/// A log whose close is never answered.
#[derive(Debug)]
struct NeverCloses(LogBroker);

impl Backend for NeverCloses {
    fn capability(&self) -> Capability {
        self.0.capability()
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        self.0.subscribe(subscription)
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        self.0.publisher()
    }

    fn reader(&self) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        self.0.reader()
    }

    fn admin(&self) -> Arc<dyn Admin> {
        self.0.admin()
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_does_not_close_does_not_keep_the_app() {
    let bill = RouteDefaults::new("bill")
        .with("topic", "orders")
        .with("group", "billing");
    let clock = Arc::new(TokioClock::starting_at(Timestamp(0)));
    let broker = LogBroker::memory(LogOptions::new(clock));
    let ended = app()
        .backend("main", Arc::new(NeverCloses(broker)))
        .configure(|config| config.set("backend.main.auto_create", true))
        .route(bill, nothing)
        .run_until(std::future::ready(()));
    let started = Instant::now();
    let report = timeout(Duration::from_secs(600), ended).await;
    assert_eq!(report.expect("it ends").unwrap().routes.len(), 1);
    assert!(started.elapsed() <= Duration::from_millis(5_005));
}
