//! A result whose error is no error.
use dotmsg::handler::Json;

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(Json(_order): Json<u64>) -> Result<(), String> {
    Ok(())
}

fn main() {}
