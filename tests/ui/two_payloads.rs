//! Two payloads.
use dotmsg::handler::Json;

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(Json(_order): Json<u64>, Json(_again): Json<u64>) {}

fn main() {}
