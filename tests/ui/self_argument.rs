//! A method.
use dotmsg::handler::Json;

struct Service;

impl Service {
    #[dotmsg::handler(topic = "orders", group = "billing")]
    async fn bill(&self, Json(_order): Json<u64>) {}
}

fn main() {}
