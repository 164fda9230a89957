//! The `Json` around the payload is forgotten.
struct Order;

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(_order: Order) {}

fn main() {}
