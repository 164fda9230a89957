//! Apps that must not start.

use super::{App, NoAdapters};
use crate::config::{Config, RouteDefaults};
use crate::error::ErrorKind;

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
