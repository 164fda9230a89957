//! What the attribute has no key for, because the configuration decides it.
#[dotmsg::handler(topic = "orders", group = "billing", dedup(keep_for = "1h"), breaker(failures = 5))]
async fn tables() {}

#[dotmsg::handler(topic = "orders", group = "billing", shed(keep = 0.5), limits = ["bank"], workers = 4)]
async fn keys() {}

#[dotmsg::handler(topic = "orders", group = "billing", retry(backoff = "1s"))]
async fn retry() {}

fn main() {}
