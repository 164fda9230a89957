//! Handlers on a value: the methods stay, each is added with what its attribute says, and is called with the value.

use super::*;

/// Dependencies of its handlers.
struct Billing {
    per_cent: u64,
    billed: std::sync::Mutex<Vec<u64>>,
}

#[dotmsg::handlers]
impl Billing {
    const WHOLE: u64 = 100;

    /// Bills an order.
    #[handler(
        topic = "orders",
        group = "billing",
        concurrency = 8,
        retry(tiers = ["5s"])
    )]
    async fn bill(
        &self,
        State(limit): State<Limit>,
        headers: &Headers,
        Key(customer): Key<Option<&str>>,
        Json(order): Json<Order<'_>>,
    ) -> Result<Outgoing, HandlerError> {
        tokio::task::yield_now().await;
        if order.cents > limit.0 {
            return Err(HandlerError::permanent("over the limit").kind("limit"));
        }
        let cents = self.with_tax(order.cents);
        self.billed.lock().unwrap().push(cents);
        let text = format!("{} {customer:?} {}", order.account, headers.len());
        Ok(Outgoing::new("bills", text))
    }

    /// The first call of each fails.
    #[dotmsg::handler(topic = "refunds", group = "billing", name = "pay-back", retry(tiers = ["5s"]))]
    async fn refund<'d>(
        &'d self,
        Attempt(attempt): Attempt,
        at: Position<'d>,
    ) -> Result<(), HandlerError> {
        match attempt {
            1 => Err(HandlerError::transient(format!("{at}: not yet"))),
            _ => Ok(()),
        }
    }

    #[cfg(any())]
    #[handler(topic = "ticks", group = "never")]
    async fn left_out(&self, _: NoSuchType) {}

    #[handler(topic = "ticks", group = "r")]
    async fn r#type(&self) {}

    // Names that the generated code uses for its own, and more arguments than a function may have.
    #[rustfmt::skip]
    #[handler(topic = "ticks", group = "m")]
    async fn routes(
        &self, this: Attempt, routes: Attempt, delivery: Attempt, state: Attempt, value: Attempt,
        _: Attempt, _: Attempt, _: Attempt, _: Attempt, _: Attempt, _: Attempt, _: Attempt, _: Attempt,
    ) -> Settlement {
        assert_eq!([this, routes, delivery, state, value], [Attempt(1); 5]);
        Settlement::Discard
    }

    fn with_tax(&self, cents: u64) -> u64 {
        cents * (Self::WHOLE + self.per_cent) / Self::WHOLE
    }
}

fn billing() -> Billing {
    Billing {
        per_cent: 19,
        billed: std::sync::Mutex::default(),
    }
}

/// The handlers that were added, by name.
struct Added<S>(Vec<(HandlerMeta, Call<S>)>);

impl<S> Added<S> {
    fn of<H: Handlers<S>>(handlers: H) -> Self {
        H::add_to(Arc::new(handlers), Self(Vec::new()))
    }

    fn call(&self, name: &str) -> &Call<S> {
        let mut all = self.0.iter();
        &all.find(|(meta, _)| meta.name == name)
            .expect("it was added")
            .1
    }
}

impl<S> Routes<S> for Added<S> {
    fn add<F, Fut>(mut self, meta: HandlerMeta, _: Needs, call: F) -> Self
    where
        F: Fn(Delivery, Arc<S>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        let call = move |delivery, state| Box::pin(call(delivery, state)) as _;
        self.0.push((meta, Box::new(call)));
        self
    }

    fn add_batch<F, Fut>(self, _: HandlerMeta, _: Needs, _: F) -> Self
    where
        F: Fn(Vec<Delivery>, Arc<S>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Answer, HandlerError>> + Send + 'static,
    {
        unreachable!("none of them takes batches: those are in batches.rs")
    }
}

#[tokio::test]
async fn a_unit_test_calls_a_method_as_it_is() {
    let billing = billing();
    let order = Order {
        account: "a",
        cents: 5,
    };
    let limit = State(Limit(4));
    let headers = Headers::new();
    let returned = billing.bill(limit, &headers, Key(None), Json(order));
    assert_eq!(returned.await.unwrap_err().kind_name(), "limit");
    billing.r#type().await;
}

#[test]
fn the_methods_are_added_in_their_order_with_what_their_attributes_say() {
    let added = Added::<AppState>::of(billing());
    let mut bill = HandlerMeta::new("bill", "orders");
    bill.group = Some("billing");
    bill.concurrency = Some(8);
    bill.retry.tiers = Some(&["5s"]);
    assert_eq!(added.0[0].0, bill);
    let names: Vec<_> = added.0.iter().map(|(meta, _)| meta.name).collect();
    assert_eq!(names, ["bill", "pay-back", "type", "routes"]);
}

#[tokio::test]
async fn the_runtime_calls_a_method_on_the_shared_value() {
    let shared = Arc::new(billing());
    let added = Added::of(Arc::clone(&shared));
    let state = Arc::new(AppState { limit: 100 });
    let bill = added.call("bill");
    let returned = bill(given(order(100)), Arc::clone(&state)).await.unwrap();
    assert_eq!(
        returned.outgoing,
        [Outgoing::new("bills", "a Some(\"k\") 0")]
    );
    assert_eq!(*shared.billed.lock().unwrap(), [119]);
    let error = bill(given(Message::new("{")), Arc::clone(&state)).await;
    assert_eq!(error.unwrap_err().kind_name(), "decode");
    let error = added.call("pay-back")(given(order(1)), Arc::clone(&state)).await;
    assert_eq!(error.unwrap_err().to_string(), "orders/0/7: not yet");
    let returned = added.call("routes")(given(order(1)), state).await.unwrap();
    assert_eq!(returned.settlement, Settlement::Discard);
}

/// A block for one type of state.
struct Exact;

#[dotmsg::handlers]
impl Exact {
    #[handler(topic = "orders", group = "exact", state = AppState)]
    async fn exact(&self, State(limit): State<Limit>) {
        assert_eq!(limit.0, 100);
    }

    #[cfg(test)]
    #[handler(topic = "orders", group = "too")]
    async fn exact_too(&self, State(limit): State<Limit>) {
        assert_eq!(limit.0, 100);
    }
}

#[tokio::test]
async fn a_block_may_be_for_one_type_of_state() {
    let added = Added::of(Exact);
    for (_, call) in &added.0 {
        let state = Arc::new(AppState { limit: 100 });
        assert!(call(given(order(1)), state).await.is_ok());
    }
    assert_eq!(added.0.len(), 2);
}

#[cfg(feature = "testing")]
#[test]
fn an_app_runs_the_methods_of_a_value_and_keeps_every_promise_for_them() {
    use std::time::Duration;

    use dotmsg::testing::{Became, TestApp};

    let shared = Arc::new(billing());
    let handlers = Arc::clone(&shared);
    dotmsg::testing::run(async move {
        let app = App::with_config(Config::new()).state(AppState { limit: 100 });
        let mut test = TestApp::start(app.handlers(handlers)).await;
        let bill = serde_json::json!({"account": "a", "cents": 100});
        test.publish("orders", &bill).key("k").id("within").await;
        let over = serde_json::json!({"account": "a", "cents": 101});
        test.publish("orders", &over).key("k").id("over").await;
        test.publish("refunds", &0).key("k").id("back").await;
        test.run_until_idle().await;
        test.assert_became("bill", "within", &[Became::Handled]);
        test.assert_dead_letters("bill", &["limit"]);
        test.assert_published("bills", 1);
        let tier = Duration::from_secs(5);
        test.assert_became("pay-back", "back", &[Became::Away(tier)]);
        test.advance(tier).await;
        test.assert_became("pay-back", "back", &[Became::Away(tier), Became::Handled]);
        test.shutdown().await;
    });
    assert_eq!(*shared.billed.lock().unwrap(), [119]);
}

/// Publishes at once. The first call fails afterwards.
#[dotmsg::handler(topic = "parcels", group = "shipping", retry(tiers = ["5s"]))]
async fn ship(
    id: MessageId,
    Attempt(attempt): Attempt,
    publisher: &Publisher,
    Json(parcels): Json<u64>,
) -> Result<(), HandlerError> {
    for parcel in 0..parcels {
        let label = Message::new(parcel.to_string()).with_id(format!("{id}:{parcel}"));
        let published = publisher.publish("labels", label).await?;
        assert!(!published.duplicate);
    }
    match attempt {
        1 => Err(HandlerError::transient("no driver")),
        _ => Ok(()),
    }
}

struct Shipping;

#[dotmsg::handlers]
impl Shipping {
    #[handler(topic = "letters", group = "shipping")]
    async fn post(&self, publisher: Publisher) -> Result<(), dotmsg::Error> {
        let stamped = publisher.publish("stamps", Message::new("1")).await?;
        assert_eq!(stamped.offset, 0);
        Ok(())
    }

    #[handler(topic = "letters", group = "counting")]
    async fn count(&self, _: &Delivery) {}
}

#[test]
fn a_handler_needs_what_its_arguments_do() {
    assert_eq!(<ship as Invoke<()>>::NEEDS, Needs::PUBLISHER);
    assert_eq!(<bill as Invoke<AppState>>::NEEDS, Needs::NONE);
    assert_eq!(<tick as Invoke<()>>::NEEDS, Needs::NONE);
}

#[tokio::test]
async fn a_delivery_of_no_app_has_no_publisher() {
    let error = Added::<()>::of(Shipping).call("post")(given(order(1)), Arc::new(())).await;
    assert_eq!(error.unwrap_err().kind_name(), "publisher");
}

#[tokio::test]
async fn a_route_with_transactions_refuses_to_publish_outside_of_them() {
    let config = Config::new()
        .set("backend.main.url", "memory:")
        .set("routes.ship.delivery", "exactly_once")
        .set("routes.post.delivery", "exactly_once")
        .set("routes.count.delivery", "exactly_once");
    let app = App::with_config(config).handler(ship).handlers(Shipping);
    let error = app.start().await.unwrap_err();
    assert_eq!(error.kind(), dotmsg::ErrorKind::Config);
    let text = error.to_string();
    for part in [
        "ship, post",
        "`Publisher`",
        "exactly_once",
        "Return the messages",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("count"), "{text}");
}

#[cfg(feature = "testing")]
#[test]
fn what_a_handler_publishes_at_once_stays_and_comes_again() {
    use std::time::Duration;

    use dotmsg::testing::TestApp;

    dotmsg::testing::run(async {
        let config = Config::new().set("backend.main.topic_prefix", "live.");
        let app = App::with_config(config).handler(ship).handlers(Shipping);
        let mut test = TestApp::start(app).await;
        test.publish("parcels", &2).key("k").id("order").await;
        test.publish("letters", &0).key("k").await;
        test.run_until_idle().await;
        test.assert_published("labels", 2);
        test.assert_published("stamps", 1);
        test.advance(Duration::from_secs(5)).await;
        let published = test.published("labels");
        let mut ids: Vec<_> = published.iter().filter_map(Message::id).collect();
        ids.sort();
        assert_eq!(ids, ["order:0", "order:0", "order:1", "order:1"]);
        test.shutdown().await;
    });
}
