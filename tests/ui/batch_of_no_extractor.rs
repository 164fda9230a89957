//! What is in the batch is no extractor.

use dotmsg::Batch;

struct Order;

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn insert(Batch(orders): Batch<Order>) {
    let _ = orders;
}

fn main() {
    let _ = insert;
}
