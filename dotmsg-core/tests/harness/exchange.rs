//! Routes that feed each other.

use dotmsg_core::app::{App, NoAdapters};
use dotmsg_core::config::{Config, RouteDefaults};
use dotmsg_core::delivery::Delivery;
use dotmsg_core::handler::{HandlerError, Json, Outgoing};
use dotmsg_core::testing::{TestApp, run};

/// Counts down in the other topic.
fn to(topic: &'static str, number: u32) -> Result<Option<Outgoing>, HandlerError> {
    let Some(less) = number.checked_sub(1) else {
        return Ok(None);
    };
    Ok(Some(Outgoing::json(topic, &less)?.key("k")))
}

async fn ping(Json(number): Json<u32>) -> Result<Option<Outgoing>, HandlerError> {
    to("pongs", number)
}

async fn pong(Json(number): Json<u32>) -> Result<Option<Outgoing>, HandlerError> {
    to("pings", number)
}

fn route(handler: &'static str, topic: &'static str) -> RouteDefaults {
    RouteDefaults::new(handler)
        .with("topic", topic)
        .with("group", "players")
}

#[test]
fn idle_means_that_neither_of_two_routes_has_anything_to_do() {
    run(async {
        let config = Config::new().set("backend.main.topic_prefix", "test.");
        let app = App::<(), NoAdapters>::with_config(config)
            .route(route("ping", "pings"), ping)
            .route(route("pong", "pongs"), pong);
        let mut test = TestApp::start(app).await;
        test.publish("pings", &20).key("k").await;
        test.run_until_idle().await;
        test.assert_calls("ping", 11);
        test.assert_calls("pong", 10);
        assert_eq!(test.published_json::<u32>("pongs").len(), 10);
        let pings = test.published("pings");
        let mut ids: Vec<_> = pings.iter().filter_map(|message| message.id()).collect();
        ids.dedup();
        assert_eq!(ids.len(), 10, "every derived id is its own");
        test.assert_settled("ping");
        test.assert_settled("pong");
        assert_eq!(test.shutdown().await.routes.len(), 2);
    });
}

#[test]
fn a_route_may_consume_the_dead_letters_of_another() {
    run(async {
        let refuses = |_: Delivery| async {
            Err::<(), _>(HandlerError::permanent(std::io::Error::other("no")).kind("refused"))
        };
        let notes = |delivery: Delivery| async move {
            // On the topic of another route control headers are data.
            let kind = delivery.headers().get_str("dotmsg-failure-kind");
            assert_eq!(kind, Some("refused"));
        };
        let app = App::<(), NoAdapters>::with_config(Config::new())
            .route(route("refuse", "orders"), refuses)
            .route(route("note", "orders.players.dlq"), notes);
        let mut test = TestApp::start(app).await;
        test.publish("orders", "x").key("k").await;
        test.run_until_idle().await;
        test.assert_dead_letters("refuse", &["refused"]);
        test.assert_calls("note", 1);
        test.assert_dead_letters("note", &[]);
    });
}
