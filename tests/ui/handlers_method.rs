//! Methods that cannot be handlers for other reasons, beside one that can.
use dotmsg::handler::Attempt;
use dotmsg::{App, Config, Json};

struct Billing;

#[dotmsg::handlers]
impl Billing {
    #[handler(topic = "orders", group = "a")]
    fn not_async(&self, Json(_order): Json<u64>) {}

    #[handler(topic = "orders", group = "b")]
    async fn generic<T: serde::de::DeserializeOwned + Send>(&self, Json(_order): Json<T>) {}

    #[handler(topic = "orders", group = "c")]
    async fn payload_first(&self, Json(_order): Json<u64>, _: Attempt) {}

    #[handler(topic = "orders", group = "d")]
    async fn conditional(&self, #[cfg(any())] _rates: Missing) {}

    #[handler(topic = "orders", group = "e")]
    #[handler(topic = "refunds", group = "e")]
    async fn twice(&self, Json(_order): Json<u64>) {}

    #[handler(topic = "orders", group = "f")]
    const NOT_A_METHOD: u64 = 7;

    #[handler(topic = "orders", group = "g")]
    async fn bill(&self, Json(_order): Json<u64>) {}
}

fn main() {
    let _ = App::with_config(Config::new()).handlers(Billing);
}
