//! Keys that do not exist, with the nearest ones.
#[dotmsg::handler(topic = "orders", gruop = "billing", retry(teirs = ["5s"]))]
async fn bill() {}

#[dotmsg::handler(topic = "orders", group = "billing", tiers = ["5s"])]
async fn misplaced() {}

fn main() {}
