//! No method has the attribute.
use dotmsg::{App, Config, Json};

struct Billing;

#[dotmsg::handlers]
impl Billing {
    async fn bill(&self, Json(_order): Json<u64>) {}
}

fn main() {
    let _ = App::with_config(Config::new()).handlers(Billing);
}
