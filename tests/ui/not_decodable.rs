//! The type in `Json` cannot be decoded.
use dotmsg::handler::Json;

struct Order;

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(Json(_order): Json<Order>) {}

fn main() {}
