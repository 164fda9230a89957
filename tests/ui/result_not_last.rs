//! A payload as a `Result` is a payload all the same: it stands last.
use dotmsg::handler::{Attempt, Json, JsonRejection};

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(_order: Result<Json<u64>, JsonRejection>, _: Attempt) {}

fn main() {}
