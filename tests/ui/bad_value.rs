//! Durations and words that do not parse.
#[dotmsg::handler(
    topic = "orders",
    ordering = "keys",
    timeout = "30 parsecs",
    delivery = "at-least-once",
    start = "beginning",
    retry(tiers = ["5s", "soon", "1s", "0s"], order = "kept")
)]
async fn bill() {}

fn main() {}
