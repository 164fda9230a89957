//! The conformance suite on the log in a directory, with fsync.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use dotmsg_core::backend::{
    Backend, BoxFuture, Capability, History, KeyOrder, Ownership, Partitioning, PositionStore,
};
use dotmsg_core::error::Result;
use dotmsg_core::log::{LogBroker, LogOptions};
use dotmsg_testkit::{Connection, Fixture, Purpose, conformance};

struct Directory {
    path: PathBuf,
    log: RwLock<LogBroker>,
}

impl Directory {
    fn open(path: &Path) -> Result<LogBroker> {
        let mut options = LogOptions::default();
        options.max_record_bytes = 1 << 20;
        options.segment_bytes = 64 << 10;
        options.session_timeout = Duration::from_secs(2);
        LogBroker::open(path, options)
    }

    fn log(&self) -> LogBroker {
        self.log
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Fixtures are never dropped, so a run removes what earlier ones left, unless it may still be in use.
fn remove_leftovers(of: &Path) {
    let Ok(entries) = std::fs::read_dir(of) else {
        return;
    };
    for entry in entries.flatten() {
        let age = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|modified| modified.elapsed().ok());
        if age.is_some_and(|age| age > Duration::from_secs(3_600)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Fixture for Directory {
    async fn start(_: Purpose) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance-log");
        remove_leftovers(&all);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let path = all.join(format!("{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&all).expect("a directory for the logs");
        let log = Self::open(&path).expect("a new log opens");
        Self {
            path,
            log: RwLock::new(log),
        }
    }

    fn minimum(&self) -> Capability {
        let mut minimum = Capability::minimal();
        minimum.key_order = KeyOrder::Log;
        minimum.position = PositionStore::Record {
            max_bytes: usize::MAX,
        };
        minimum.ownership = Ownership::Shared;
        minimum.history = History::Retained;
        minimum.partitioning = Partitioning::Custom;
        minimum.max_record_bytes = 1 << 20;
        minimum.durable = true;
        minimum
    }

    async fn connect(&self) -> Result<Arc<dyn Backend>> {
        let backend: Arc<dyn Backend> = Arc::new(self.log());
        Ok(Arc::new(Connection::to(&backend)))
    }

    fn restart(&self) -> Option<BoxFuture<'_, Result<()>>> {
        Some(Box::pin(async move {
            self.log().close().await?;
            let opened = Self::open(&self.path)?;
            *self.log.write().unwrap_or_else(PoisonError::into_inner) = opened;
            Ok(())
        }))
    }

    fn trim<'a>(&'a self, _: &'a str, _: u32, _: u64) -> Option<BoxFuture<'a, Result<()>>> {
        Some(Box::pin(async move { self.log().apply_retention() }))
    }
}

conformance!(Directory);
