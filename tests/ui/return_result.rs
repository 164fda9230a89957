//! A result whose value is no result of a handler.
use dotmsg::handler::{HandlerError, Json};

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(Json(order): Json<u64>) -> Result<u64, HandlerError> {
    Ok(order)
}

fn main() {}
