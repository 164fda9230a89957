//! Arguments and return values that a method cannot have.
use dotmsg::Json;

struct Order;

struct Billing;

#[dotmsg::handlers]
impl Billing {
    #[handler(topic = "orders", group = "a")]
    async fn part(&self, _attempt: u32, Json(_order): Json<u64>) {}

    #[handler(topic = "orders", group = "b")]
    async fn last(&self, _order: Order) {}

    #[handler(topic = "orders", group = "c")]
    async fn returns(&self, Json(order): Json<u64>) -> u64 {
        order
    }
}

fn main() {}
