//! Names that the configuration cannot speak of.
#[dotmsg::handler(topic = "orders", name = "bill orders")]
async fn spaced() {}

#[dotmsg::handler(topic = "orders", name = "billing.orders")]
async fn dotted() {}

#[dotmsg::handler(topic = "orders", name = "bill__orders")]
async fn divided() {}

#[dotmsg::handler(topic = "orders", name = "")]
async fn empty() {}

#[dotmsg::handler(topic = "orders", name = bill)]
async fn not_a_string() {}

fn main() {}
