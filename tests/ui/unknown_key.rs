//! Keys that do not exist, with the nearest ones.
#[dotmsg::handler(topic = "orders", gruop = "billing", retry(teirs = ["5s"]))]
async fn bill() {}

fn main() {}
