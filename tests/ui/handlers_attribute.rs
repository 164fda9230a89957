//! Mistakes in the attributes, of the methods and of the block.
use dotmsg::{App, Config, Json};

struct Billing;

#[dotmsg::handlers(group = "billing")]
impl Billing {
    #[handler]
    async fn bare(&self, Json(_order): Json<u64>) {}

    #[handler(group = "a")]
    async fn no_topic(&self, Json(_order): Json<u64>) {}

    #[dotmsg::handler(topic = "orders", gruop = "b", timeout = "soon")]
    async fn wrong(&self, Json(_order): Json<u64>) {}

    #[handler = "orders"]
    async fn assigned(&self, Json(_order): Json<u64>) {}
}

fn main() {
    let _ = App::with_config(Config::new()).handlers(Billing);
}
