//! What the tests on real brokers share: where the broker is, and a backend with these settings.

use std::sync::Arc;

use dotmsg_core::backend::{Backend, BackendOptions, Retention, TopicSpec};
use dotmsg_core::clock::{Clock, SystemClock};
use dotmsg_core::error::Result;
use dotmsg_kafka::KafkaBackend;

/// The broker of most tests; where none is named, a line says that the test is skipped.
#[allow(
    dead_code,
    reason = "not every test that shares this file uses that broker"
)]
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
pub(crate) fn url() -> Option<String> {
    let url = std::env::var("DOTMSG_TEST_KAFKA_URL").ok();
    if url.is_none() {
        println!("skipped: DOTMSG_TEST_KAFKA_URL is not set (`cargo xtask services up kafka`)");
    }
    url
}

/// Opens the cluster at this URL, as the backend `main`.
pub(crate) async fn open(url: &str, settings: &[(&str, &str)]) -> Result<Arc<dyn Backend>> {
    let settings = settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let options = BackendOptions {
        name: "main".into(),
        url: url.into(),
        settings: settings.collect(),
        clock: Arc::new(SystemClock),
    };
    Ok(Arc::new(KafkaBackend::open(&options).await?))
}

/// A topic of so many partitions, which nobody has used before; its name begins so.
#[allow(
    dead_code,
    reason = "not every test that shares this file makes topics"
)]
pub(crate) async fn fresh_topic(backend: &dyn Backend, name: &str, partitions: u32) -> String {
    let topic = format!("{name}-{}-{}", std::process::id(), SystemClock.now().0);
    let spec = TopicSpec {
        name: topic.clone(),
        partitions,
        retention: Retention::AsBackend,
    };
    backend.admin().create_topic(spec).await.unwrap();
    topic
}
