//! A function without the attribute, where one with it is wanted.
use dotmsg::handler::Json;
use dotmsg::{App, Config};

async fn bill(Json(_order): Json<u64>) {}

fn main() {
    let _ = App::with_config(Config::new()).handler(bill);
}
