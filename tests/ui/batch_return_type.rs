//! Messages to publish belong to a message of the batch.

use dotmsg::{Batch, Json, Outgoing};

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn insert(Batch(rows): Batch<Json<u64>>) -> Vec<Outgoing> {
    rows.into_iter().map(|_| Outgoing::new("bills", "")).collect()
}

fn main() {
    let _ = insert;
}
