//! A part that is no extractor.
use dotmsg::handler::Json;

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(_attempt: u32, Json(_order): Json<u64>) {}

fn main() {}
