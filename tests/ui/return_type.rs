//! A return value that is no result of a handler.
use dotmsg::handler::Json;

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(Json(order): Json<u64>) -> u64 {
    order
}

fn main() {}
