//! The value cannot be shared between threads.
use std::cell::Cell;

use dotmsg::Json;

struct Billing {
    sum: Cell<u64>,
}

#[dotmsg::handlers]
impl Billing {
    #[handler(topic = "orders", group = "billing")]
    async fn bill(&self, Json(order): Json<u64>) {
        self.sum.set(self.sum.get() + order);
    }
}

fn main() {}
