//! The payload stands before a part.
use dotmsg::handler::{Attempt, Json};

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(Json(_order): Json<u64>, _: Attempt) {}

fn main() {}
