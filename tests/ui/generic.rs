//! Generic over a type.
use dotmsg::handler::Json;

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill<T: serde::de::DeserializeOwned + Send>(Json(_order): Json<T>) {}

fn main() {}
