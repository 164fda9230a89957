//! Values of another type than the key takes.
#[dotmsg::handler(
    topic = 1,
    group,
    concurrency = "8",
    timeout = 30,
    ordering = true,
    retry = ["5s"],
    start("earliest")
)]
async fn bill() {}

#[dotmsg::handler(
    topic = "",
    backend("main"),
    concurrency = 0,
    retry(tiers = "5s", attempts = 4_294_967_296)
)]
async fn refund() {}

fn main() {}
