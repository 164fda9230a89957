//! The attributes: functions and methods stay callable, their meta says what the attribute says, and the runtime's call
//! extracts, runs and settles.

mod batch_faults;
mod batches;
mod breaker;
mod dedup;
mod derived;
mod limits;
mod merged;
mod methods;
mod shed;
mod telemetry;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use dotmsg::clock::Timestamp;
use dotmsg::delivery::{Position, Role, Stream};
use dotmsg::handler::{
    Annotated, Answer, Attempt, Classify, FromPayload, FromRef, Handler, HandlerMeta,
    HandlerResult, Handlers, Invoke, Json, JsonRejection, Key, KeyRejection, Meta, Needs, Origin,
    Routes, State,
};
use dotmsg::message::Headers;
use dotmsg::{
    App, Config, Delivery, HandlerError, Message, MessageId, Outgoing, Publisher, Settlement,
};

#[derive(serde::Deserialize)]
struct Order<'d> {
    account: &'d str,
    cents: u64,
}

struct AppState {
    limit: u64,
}

struct Limit(u64);

impl FromRef<AppState> for Limit {
    fn from_ref(state: &AppState) -> Self {
        Self(state.limit)
    }
}

/// Bills an order.
#[dotmsg::handler(
    topic = "orders",
    group = "billing",
    backend = "fast",
    concurrency = 8,
    ordering = "key",
    timeout = "30s",
    retry(tiers = ["5s", "1m"], order = "keep", attempts = 3),
    delivery = "at_least_once",
    start = "latest"
)]
async fn bill(
    State(limit): State<Limit>,
    headers: &Headers,
    Key(customer): Key<Option<&str>>,
    Json(order): Json<Order<'_>>,
) -> Result<Outgoing, HandlerError> {
    tokio::task::yield_now().await;
    if order.cents > limit.0 {
        return Err(HandlerError::permanent("over the limit").kind("limit"));
    }
    let text = format!("{} {customer:?} {}", order.account, headers.len());
    Ok(Outgoing::new("bills", text))
}

#[dotmsg::handler(topic = "orders")]
async fn look<'d>(at: Position<'d>, Origin(origin): Origin<Position<'d>>) -> Settlement {
    assert_eq!(at, origin);
    Settlement::Discard
}

#[dotmsg::handler(topic = "orders", group = "raw")]
async fn r#type(attempt: Attempt, payload: Option<Bytes>) {
    assert_eq!(attempt, Attempt(1));
    drop(payload);
}

#[dotmsg::handler(topic = "ticks", group = "t")]
async fn tick() {}

#[dotmsg::handler(topic = "ticks", group = "o")]
async fn opaque() -> impl dotmsg::handler::IntoReturned {
    Settlement::Discard
}

#[dotmsg::handler(topic = "ticks", group = "n", name = "billing-ticks")]
async fn named() {}

#[cfg(any())]
#[dotmsg::handler(topic = "ticks", group = "never")]
async fn left_out(_: NoSuchType) {}

#[dotmsg::handler(topic = "ticks", group = "never")]
#[cfg(any())]
async fn left_out_too(_: NoSuchType) {}

// Names that the generated code uses for its own.
#[dotmsg::handler(topic = "ticks", group = "d")]
async fn delivery(delivery: Delivery) {
    drop(delivery);
}

#[dotmsg::handler(topic = "ticks", group = "s")]
async fn state(Key(argument0): Key<Option<u64>>, argument1: &Delivery) {
    assert_eq!(argument0.is_some(), argument1.key().is_some());
}

#[dotmsg::handler(topic = "orders", group = "exact", state = AppState)]
async fn exact(State(limit): State<Limit>) -> Settlement {
    assert_eq!(limit.0, 100);
    Settlement::Ack
}

type Call<S> = Box<dyn Fn(Delivery, Arc<S>) -> Pin<Box<dyn Future<Output = HandlerResult> + Send>>>;

/// What an app keeps of a handler it is given.
fn register<S, T, H>(_: H) -> (HandlerMeta, Call<S>)
where
    H: Annotated<T>,
    H::Meta: Invoke<S>,
{
    let call = |delivery, state| Box::pin(H::Meta::invoke(delivery, state)) as _;
    (H::Meta::META, Box::new(call))
}

fn given(message: Message) -> Delivery {
    let stream = Stream::new("orders".into(), 0, 1, Role::Source);
    Delivery::new(Arc::new(stream), 7, Timestamp(0), message)
}

fn order(cents: u64) -> Message {
    Message::new(format!(r#"{{"account":"a","cents":{cents}}}"#)).with_key("k")
}

#[tokio::test]
async fn the_runtime_calls_it_with_borrowed_arguments() {
    let (_, call) = register::<AppState, _, _>(bill);
    let state = Arc::new(AppState { limit: 100 });
    let returned = call(given(order(100)), Arc::clone(&state)).await.unwrap();
    assert_eq!(
        returned.outgoing,
        [Outgoing::new("bills", "a Some(\"k\") 0")]
    );
    let error = call(given(order(101)), Arc::clone(&state))
        .await
        .unwrap_err();
    assert_eq!(error.kind_name(), "limit");
    let error = call(given(Message::new("{")), state).await.unwrap_err();
    assert_eq!(error.kind_name(), "decode");
}

#[tokio::test]
async fn a_unit_test_calls_it_as_it_is() {
    let order = Order {
        account: "a",
        cents: 5,
    };
    let returned = bill(State(Limit(4)), &Headers::new(), Key(None), Json(order)).await;
    assert_eq!(returned.unwrap_err().kind_name(), "limit");
    tick().await;
}

#[test]
fn the_meta_says_what_the_attribute_says() {
    let (meta, _) = register::<AppState, _, _>(bill);
    let mut wanted = HandlerMeta::new("bill", "orders");
    wanted.group = Some("billing");
    wanted.backend = Some("fast");
    wanted.concurrency = Some(8);
    wanted.ordering = Some("key");
    wanted.timeout = Some("30s");
    wanted.delivery = Some("at_least_once");
    wanted.start = Some("latest");
    wanted.retry.tiers = Some(&["5s", "1m"]);
    wanted.retry.order = Some("keep");
    wanted.retry.attempts = Some(3);
    assert_eq!(meta, wanted);
    assert_eq!(<look as Meta>::META, HandlerMeta::new("look", "orders"));
    assert_eq!(<r#type as Meta>::META.name, "type");
    assert_eq!(<named as Meta>::META.name, "billing-ticks");
}

#[tokio::test]
async fn two_routes_of_one_name_are_refused_and_both_are_named() {
    mod other {
        #[dotmsg::handler(topic = "refunds", group = "t", name = "tick")]
        pub(super) async fn refund() {}
    }
    let config = Config::new().set("backend.main.url", "memory:");
    let app = App::with_config(config)
        .handler(tick)
        .handler(other::refund);
    let error = app.start().await.unwrap_err();
    let text = error.to_string();
    for part in [
        "routes.tick",
        "one on topic `ticks` in group `t` and one on topic `refunds` in group `t`",
        "`name = \"…\"` in its attribute",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn it_is_a_handler_like_any_other() {
    async fn run<T, S>(handler: impl Handler<T, S>, state: S) -> HandlerResult {
        handler
            .call(given(Message::tombstone()), Arc::new(state))
            .await
    }
    let returned = run(look.into_handler(), ()).await.unwrap();
    assert_eq!(returned.settlement, Settlement::Discard);
    assert!(run(r#type.into_handler(), ()).await.is_ok());
    // Without borrowed arguments the function is one itself.
    assert!(run(r#type, ()).await.is_ok());
    assert!(run(tick.into_handler(), "any state").await.is_ok());
    assert!(
        run(exact.into_handler(), AppState { limit: 100 })
            .await
            .is_ok()
    );
}
