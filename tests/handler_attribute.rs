//! The attribute: the function stays callable, its meta says what the attribute says, and the runtime's call extracts,
//! runs and settles.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use dotmsg::clock::Timestamp;
use dotmsg::delivery::{Position, Role, Stream};
use dotmsg::handler::{
    Annotated, Attempt, FromRef, Handler, HandlerMeta, HandlerResult, Invoke, Json, JsonRejection,
    Key, KeyRejection, Meta, Origin, State,
};
use dotmsg::message::Headers;
use dotmsg::{Delivery, HandlerError, Message, Outgoing, Settlement};

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

#[dotmsg::handler(topic = "orders", group = "rejected")]
async fn rejected(
    key: Result<Key<u64>, KeyRejection>,
    order: Result<Json<Order<'_>>, JsonRejection>,
) -> Result<Settlement, HandlerError> {
    let Ok(Key(_)) = key else {
        return Ok(Settlement::Discard);
    };
    let Json(order) = order?;
    assert_eq!(order.account, "a");
    Ok(Settlement::Ack)
}

/// A part as a result, last.
#[dotmsg::handler(topic = "orders", group = "keyed")]
async fn keyed(key: Result<Key<&str>, KeyRejection>) -> Outgoing {
    Outgoing::new("keys", format!("{key:?}"))
}

#[tokio::test]
async fn a_handler_that_takes_a_result_gets_the_rejection() {
    let (_, call) = register::<(), _, _>(rejected);
    let call = |message| call(given(message), Arc::new(()));
    let settled = call(order(1).with_key("7")).await.unwrap().settlement;
    assert_eq!(settled, Settlement::Ack);
    let settled = call(order(1)).await.unwrap().settlement;
    assert_eq!(settled, Settlement::Discard);
    let error = call(Message::new("{").with_key("7")).await.unwrap_err();
    assert_eq!((error.kind_name(), error.is_transient()), ("decode", false));

    let (_, call) = register::<(), _, _>(keyed);
    let returned = call(given(Message::new("x")), Arc::new(())).await.unwrap();
    assert_eq!(returned.outgoing, [Outgoing::new("keys", "Err(Null)")]);
}

#[derive(Clone, Debug, PartialEq)]
struct Rates(u64);

#[derive(FromRef)]
struct Service {
    rates: Arc<Rates>,
    limit: u64,
    #[from_ref(skip)]
    floor: u64,
}

#[derive(FromRef)]
struct Pair(Rates, #[from_ref(skip)] Rates, &'static str);

#[dotmsg::handler(topic = "orders", group = "parts")]
async fn parts(State(rates): State<Arc<Rates>>, State(limit): State<u64>) -> Outgoing {
    Outgoing::new("parts", format!("{} {limit}", rates.0))
}

#[tokio::test]
async fn the_fields_of_a_derived_state_are_its_parts() {
    let service = Service {
        rates: Arc::new(Rates(19)),
        limit: 7,
        floor: 3,
    };
    assert_eq!(service.floor, 3);
    let (_, call) = register::<Service, _, _>(parts);
    let given = given(Message::new("x"));
    let returned = call(given, Arc::new(service)).await.unwrap();
    assert_eq!(returned.outgoing, [Outgoing::new("parts", "19 7")]);

    let pair = Pair(Rates(1), Rates(2), "three");
    assert_eq!(Rates::from_ref(&pair), pair.0);
    assert_ne!(Rates::from_ref(&pair), pair.1);
    assert_eq!(<&str>::from_ref(&pair), "three");
}
