//! What the tests on real brokers share: a backend with these settings.

use std::sync::Arc;

use dotmsg_core::backend::{Backend, BackendOptions};
use dotmsg_core::clock::SystemClock;
use dotmsg_core::error::Result;
use dotmsg_kafka::KafkaBackend;

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
