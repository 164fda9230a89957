//! A key belongs to a message, not to a batch.

use dotmsg::{Batch, Json, Key};

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn insert(Key(customer): Key<u64>, Batch(rows): Batch<Json<u64>>) {
    let _ = (customer, rows);
}

fn main() {
    let _ = insert;
}
