//! What is derived, through the attribute: rejections as results, classes of errors, parts of the state, payloads of several types.

use super::*;

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

#[derive(Debug, Classify)]
enum BillError {
    #[classify(permanent, kind = "empty")]
    Empty,
    #[classify(transient)]
    Database(#[allow(dead_code)] u32),
    #[classify(inner)]
    Rates(Box<RatesError>),
    #[classify(inner, kind = "late")]
    Late { error: RatesError },
}

#[derive(Debug, Classify)]
#[classify(permanent, kind = "rates")]
enum RatesError {
    None(#[allow(dead_code)] &'static str),
    #[classify(transient)]
    Down,
    #[classify(kind = "old")]
    Old,
}

macro_rules! errors {
    ($($name:ident)*) => {$(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{self:?}")
            }
        }

        impl std::error::Error for $name {}
    )*};
}

errors!(BillError RatesError);

fn total(cents: u64) -> Result<u64, BillError> {
    match cents {
        0 => Err(BillError::Empty),
        1 => Err(BillError::Database(3)),
        2 => Err(BillError::Rates(Box::new(RatesError::None("EUR")))),
        3 => Err(BillError::Rates(Box::new(RatesError::Down))),
        4 => Err(BillError::Rates(Box::new(RatesError::Old))),
        5 => Err(BillError::Late {
            error: RatesError::Old,
        }),
        _ => Ok(cents),
    }
}

#[dotmsg::handler(topic = "orders", group = "totals")]
async fn said(Json(cents): Json<u64>) -> Result<Outgoing, BillError> {
    total(cents).map(|total| Outgoing::new("totals", total.to_string()))
}

#[tokio::test]
async fn an_error_says_its_class_when_it_is_returned() {
    let (_, call) = register::<(), _, _>(said);
    let call = |cents: u64| call(given(Message::new(cents.to_string())), Arc::new(()));
    for (cents, is_transient, kind) in [
        (0, false, "empty"),
        (1, true, "handler"),
        (2, false, "rates"),
        (3, true, "rates"),
        (4, false, "old"),
        (5, false, "late"),
    ] {
        let error = call(cents).await.unwrap_err();
        let got = (cents, error.is_transient(), error.kind_name());
        assert_eq!(got, (cents, is_transient, kind));
        let error = total(cents).map_err(HandlerError::classified).unwrap_err();
        let got = (cents, error.is_transient(), error.kind_name());
        assert_eq!(got, (cents, is_transient, kind));
    }
    let returned = call(6).await.unwrap();
    assert_eq!(returned.outgoing, [Outgoing::new("totals", "6")]);
}

/// By `?`, so that only the app can tell.
#[dotmsg::handler(topic = "orders", group = "converted", retry(attempts = 1))]
async fn converted(Json(cents): Json<u64>) -> Result<(), HandlerError> {
    total(cents)?;
    Ok(())
}

#[tokio::test]
async fn an_app_that_is_told_of_the_type_asks_it() -> dotmsg::Result<()> {
    let file = "[backend.main]\nurl = 'memory:'\nauto_create = true";
    let config = dotmsg::Config::from_toml("dotmsg.toml", file)?;
    let app = dotmsg::App::with_config(config).classify::<BillError>();
    let running = app.handler(converted).start().await?;
    let handle = running.handle().clone();
    let publisher = handle.publisher("main").expect("it is configured");
    publisher.publish("orders", Message::new("0")).await?;
    handle.idle().await;

    let route = handle.route("converted").expect("it was added");
    let letter = route.dead_letters().await?.next().await?;
    assert_eq!(letter.expect("it is a dead letter").kind, "empty");
    handle.drain();
    running.wait().await?;
    Ok(())
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Placed<'d> {
    item: &'d str,
}

#[derive(Debug, PartialEq, FromPayload)]
#[payload(header = "type")]
enum OrderEvent<'d> {
    #[payload(name = "order.placed")]
    Placed(Json<Placed<'d>>),
    #[payload(name = "order.größe")]
    Size(Option<Json<u64>>),
    #[payload(other)]
    Other(Bytes),
}

#[derive(Debug, FromPayload)]
#[payload(field = "type")]
enum Closed {
    Text(Json<Text>),
    #[payload(name = "raw")]
    Raw(Bytes),
}

#[derive(Debug, serde::Deserialize)]
struct Text {
    text: String,
}

/// A payload that needs the app's state.
#[derive(Debug)]
struct Limited(u64);

impl<'d> FromPayload<'d, AppState> for Limited {
    type Rejection = JsonRejection;

    fn from_payload(delivery: &'d Delivery, state: &'d AppState) -> Result<Self, JsonRejection> {
        let Json(cents) = Json::<u64>::from_payload(delivery, state)?;
        Ok(Self(cents.min(state.limit)))
    }
}

#[derive(Debug, FromPayload)]
#[payload(header = "type", state = AppState)]
enum Stateful {
    Limited(Limited),
}

#[dotmsg::handler(topic = "events", group = "header")]
async fn on_event(event: OrderEvent<'_>) -> Outgoing {
    Outgoing::new("seen", format!("{event:?}"))
}

#[dotmsg::handler(topic = "events", group = "field")]
async fn on_closed(event: Closed) -> Outgoing {
    match event {
        Closed::Text(Json(event)) => Outgoing::new("seen", event.text),
        Closed::Raw(payload) => Outgoing::new("seen", payload),
    }
}

#[dotmsg::handler(topic = "events", group = "rejected")]
async fn on_any(event: Result<Option<Closed>, HandlerError>) -> Outgoing {
    let text = match event {
        Ok(event) => format!("{}", event.is_some()),
        Err(error) => error.kind_name().to_owned(),
    };
    Outgoing::new("seen", text)
}

#[dotmsg::handler(topic = "events", group = "stateful", state = AppState)]
async fn on_stateful(event: Stateful) -> Outgoing {
    let Stateful::Limited(Limited(cents)) = event;
    Outgoing::new("seen", cents.to_string())
}

/// What the handler saw, or the kind of the error before it ran.
async fn seen<S, T, H>(handler: H, state: S, message: Message) -> Result<String, String>
where
    H: Annotated<T>,
    H::Meta: Invoke<S>,
{
    let (_, call) = register::<S, T, H>(handler);
    match call(given(message), Arc::new(state)).await {
        Ok(returned) => {
            let payload = returned.outgoing[0].message.payload.clone();
            Ok(String::from_utf8(payload.unwrap_or_default().into()).unwrap())
        }
        Err(error) => Err(error.kind_name().to_owned()),
    }
}

#[tokio::test]
async fn a_header_says_which_variant_it_is() {
    let placed = || Message::new(r#"{"item":"chair"}"#);
    let see = |message| seen(on_event, (), message);
    let named = |message: Message, name: &'static str| see(message.with_header("type", name));
    assert_eq!(
        named(placed(), "order.placed").await.unwrap(),
        r#"Placed(Json(Placed { item: "chair" }))"#
    );
    let size = named(Message::tombstone(), "order.größe").await;
    assert_eq!(size.unwrap(), "Size(None)");
    let other = named(Message::new("x"), "order.lost").await;
    assert_eq!(other.unwrap(), r#"Other(b"x")"#);
    assert_eq!(see(Message::new("x")).await.unwrap(), r#"Other(b"x")"#);
    let broken = named(Message::new("x"), "order.placed").await;
    assert_eq!(broken.unwrap_err(), "decode");
    let null = named(Message::tombstone(), "order.placed").await;
    assert_eq!(null.unwrap_err(), "null_payload");
}

#[tokio::test]
async fn a_field_says_which_variant_it_is() {
    let see = |payload: &'static str| seen(on_closed, (), Message::new(payload));
    let text = see(r#"{"text":"hello","type":"Text"}"#).await;
    assert_eq!(text.unwrap(), "hello");
    let raw = see(r#"{"type":"raw"}"#).await;
    assert_eq!(raw.unwrap(), r#"{"type":"raw"}"#);
    for (payload, kind) in [
        (r#"{"type":"Text"}"#, "decode"),
        (r#"{"type":"Raw"}"#, "unknown_type"),
        (r#"{"text":"hello"}"#, "unknown_type"),
        ("hello", "decode"),
    ] {
        assert_eq!(see(payload).await.unwrap_err(), kind, "{payload}");
    }
}

#[tokio::test]
async fn an_enum_of_payloads_is_a_payload_like_any_other() {
    let see = |message| seen(on_any, (), message);
    let text = Message::new(r#"{"text":"hello","type":"Text"}"#);
    assert_eq!(see(text).await.unwrap(), "true");
    assert_eq!(see(Message::tombstone()).await.unwrap(), "false");
    assert_eq!(see(Message::new("{}")).await.unwrap(), "unknown_type");

    let limited = Message::new("101").with_header("type", "Limited");
    let state = AppState { limit: 100 };
    assert_eq!(seen(on_stateful, state, limited).await.unwrap(), "100");
}
