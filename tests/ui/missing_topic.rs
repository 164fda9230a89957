//! No topic; and a key that is given twice.
#[dotmsg::handler(group = "billing")]
async fn bill() {}

#[dotmsg::handler]
async fn refund() {}

#[dotmsg::handler(topic = "orders", group = "a", group = "b")]
async fn audit() {}

fn main() {}
