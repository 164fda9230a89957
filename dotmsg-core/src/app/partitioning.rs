//! The partitioners of an app's backends: given to the backend when it is open, before anything is published.
//!
//! What is asked for and cannot be had ends the start: a partitioner that nobody asks, because its backend's name is
//! misspelt or the backend honours none, would put keys where nobody looks for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::backend::{Backend, Partitioner};
use crate::config::BackendConfig;
use crate::error::{Error, ErrorKind, Result};

/// Partitioners by the backend's name.
pub(super) type Partitioners = BTreeMap<String, Arc<dyn Partitioner>>;

/// Refuses partitioners of backends that there are not.
pub(super) fn check(partitioners: &Partitioners, backends: &[BackendConfig]) -> Result<()> {
    let known = |name: &&String| backends.iter().all(|backend| backend.name != **name);
    let Some(unknown) = partitioners.keys().find(known) else {
        return Ok(());
    };
    let names: Vec<&str> = backends.iter().map(|backend| &*backend.name).collect();
    Err(Error::new(
        ErrorKind::Config,
        "start app",
        "a partitioner was given for a backend that the configuration does not name",
    )
    .with("backend", unknown)
    .remedy(format!("It names {}", names.join(", "))))
}

/// The backend with its partitioner, where it was given one.
pub(super) fn partitioned(
    backend: Arc<dyn Backend>,
    config: &BackendConfig,
    partitioners: &Partitioners,
) -> Result<Arc<dyn Backend>> {
    let Some(partitioner) = partitioners.get(&config.name) else {
        return Ok(backend);
    };
    let unprefixed = Unprefixed {
        prefix: config.topic_prefix.clone(),
        partitioner: Arc::clone(partitioner),
    };
    let partitioned = backend.partitioned_by(Arc::new(unprefixed));
    partitioned.map_err(|error| error.with("backend", &config.name))
}

/// Asks by the topic's name as handlers use it: a prefix tells environments apart, and keys go the same way in all of them.
#[derive(Debug)]
struct Unprefixed {
    prefix: String,
    partitioner: Arc<dyn Partitioner>,
}

impl Partitioner for Unprefixed {
    fn partition(&self, topic: &str, key: &[u8], partitions: u32) -> u32 {
        let topic = topic.strip_prefix(&*self.prefix).unwrap_or(topic);
        self.partitioner.partition(topic, key, partitions)
    }
}
