//! Methods that do not take `&self`.
use std::sync::Arc;

use dotmsg::{App, Config, Json};

struct Billing;

#[dotmsg::handlers]
impl Billing {
    #[handler(topic = "orders", group = "a")]
    async fn by_value(self, Json(_order): Json<u64>) {}

    #[handler(topic = "orders", group = "b")]
    async fn exclusive(&mut self, Json(_order): Json<u64>) {}

    #[handler(topic = "orders", group = "c")]
    async fn typed(self: Arc<Self>, Json(_order): Json<u64>) {}

    #[handler(topic = "orders", group = "d")]
    async fn none(Json(_order): Json<u64>) {}
}

fn main() {
    let _ = App::with_config(Config::new()).handlers(Billing);
}
