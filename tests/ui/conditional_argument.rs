//! An argument under a condition.

use dotmsg::Delivery;

#[dotmsg::handler(topic = "orders")]
async fn bill(delivery: &Delivery, #[cfg(any())] rates: Missing) {
    let _ = delivery;
}

fn main() {}
