//! The batch is not the last argument.

use dotmsg::{Batch, Json, State};

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn insert(Batch(rows): Batch<Json<u64>>, State(limit): State<u64>) {
    let _ = (rows, limit);
}

fn main() {
    let _ = insert;
}
