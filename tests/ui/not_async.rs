//! A function that is not async.
use dotmsg::handler::Json;

#[dotmsg::handler(topic = "orders", group = "billing")]
fn bill(Json(_order): Json<u64>) {}

fn main() {}
