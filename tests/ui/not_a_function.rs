//! The attribute on something else.
#[dotmsg::handler(topic = "orders", group = "billing")]
struct Bill;

fn main() {}
