//! Keys for batches at a handler that takes one message at a time, and wrong ones.

use dotmsg::{Batch, Json};

#[dotmsg::handler(topic = "orders", group = "billing", batch(size = 10))]
async fn bill(Json(_): Json<u64>) {}

#[dotmsg::handler(topic = "orders", group = "billing", batch(size = 0, linger = 50, sice = 1))]
async fn insert(Batch(_): Batch<Json<u64>>) {}

#[dotmsg::handler(topic = "orders", group = "billing", batch = 10, linger = "1s")]
async fn other(Batch(_): Batch<Json<u64>>) {}

fn main() {
    let _ = (bill, insert, other);
}
