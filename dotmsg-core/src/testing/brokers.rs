//! The memory brokers of a test, by backend name. They outlive the apps that run on them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::TestApp;
use super::journal::Journal;
use super::time::{self, now};
use crate::app::{Adapters, App};
use crate::backend::{Backend, BatchLimits, Connection, ReadBatch, Record, Retention, TopicSpec};
use crate::clock::{Clock, TokioClock};
use crate::error::Result;
use crate::log::{Assignor, LogBroker, LogOptions};

/// Partitions of a topic that is created by being used: the default of the configuration.
const DEFAULT_PARTITIONS: u32 = 12;

const ALL: BatchLimits = BatchLimits {
    messages: 1_024,
    bytes: usize::MAX,
};

/// Memory brokers by backend name, their clock, and how apps are started on them. A clone is the same brokers.
#[derive(Clone, Debug)]
pub struct TestBrokers {
    clock: Arc<dyn Clock>,
    partitions: u32,
    auto_create: bool,
    max_record_bytes: Option<usize>,
    assignor: Assignor,
    session_timeout: Option<Duration>,
    position_retention: Option<Duration>,
    seed: u64,
    starts: Arc<AtomicU64>,
    brokers: Arc<Mutex<BTreeMap<String, LogBroker>>>,
}

impl Default for TestBrokers {
    fn default() -> Self {
        Self::new()
    }
}

impl TestBrokers {
    /// No brokers yet: an app gets those it names. From here on time is virtual.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one of several threads.
    #[must_use]
    pub fn new() -> Self {
        time::pause();
        Self {
            clock: Arc::new(TokioClock::starting_at(time::START)),
            partitions: DEFAULT_PARTITIONS,
            auto_create: true,
            max_record_bytes: None,
            assignor: Assignor::default(),
            session_timeout: None,
            position_retention: None,
            seed: 0,
            starts: Arc::default(),
            brokers: Arc::default(),
        }
    }

    /// Partitions of topics that are created by being used. Default 12.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Whether topics are created by being used. Default true; without it, [`TestBrokers::create_topic`] makes them.
    #[must_use]
    pub fn auto_create(mut self, auto_create: bool) -> Self {
        self.auto_create = auto_create;
        self
    }

    /// The largest record the brokers take: bytes of key, payload and headers. Default 16 MiB.
    #[must_use]
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = Some(bytes);
        self
    }

    /// How the partitions of a topic are shared among the apps of a group. Default [`Assignor::CooperativeSticky`].
    #[must_use]
    pub fn assignor(mut self, assignor: Assignor) -> Self {
        self.assignor = assignor;
        self
    }

    /// How long an app may be silent before the others of its group get its partitions. Default 45 s.
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = Some(timeout);
        self
    }

    /// How long positions are kept while no app is in their group. Default: forever.
    #[must_use]
    pub fn position_retention(mut self, retention: Duration) -> Self {
        self.position_retention = Some(retention);
        self
    }

    /// Seed of everything random. Default 0: two runs of a test are the same.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The clock of the brokers and of the apps.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The broker of a backend's name; made when it is first asked for.
    #[must_use]
    pub fn broker(&self, backend: &str) -> LogBroker {
        let made = || {
            let mut options = LogOptions::new(Arc::clone(&self.clock));
            options.auto_create = self.auto_create;
            options.default_partitions = self.partitions;
            options.seed = Some(self.seed);
            options.assignor = self.assignor;
            options.session_timeout = self.session_timeout.unwrap_or(options.session_timeout);
            options.position_retention = self.position_retention;
            options.max_record_bytes = self.max_record_bytes.unwrap_or(options.max_record_bytes);
            LogBroker::memory(options)
        };
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        brokers
            .entry(backend.to_owned())
            .or_insert_with(made)
            .clone()
    }

    /// Creates a topic on the broker of a backend; the name comes with the backend's prefix.
    ///
    /// # Errors
    /// It exists with another number of partitions; an impossible name.
    pub fn create_topic(&self, backend: &str, name: &str, partitions: u32) -> Result<()> {
        now(self.broker(backend).admin().create_topic(TopicSpec {
            name: name.to_owned(),
            partitions,
            retention: Retention::AsBackend,
        }))
    }

    /// Every record of a topic with its partition, in the order in which they were appended (to the millisecond, then by
    /// partition and offset); none when the topic does not exist.
    ///
    /// # Panics
    /// When the broker cannot be read.
    #[must_use]
    pub fn records(&self, backend: &str, topic: &str) -> Vec<(u32, Record)> {
        let mut all = read_all(&self.broker(backend), topic).unwrap_or_else(|error| {
            panic!("reading topic {topic} of the memory broker {backend} failed: {error}")
        });
        all.sort_by_key(|(partition, record)| (record.appended_at, *partition, record.offset));
        all
    }

    /// Starts an app on these brokers.
    ///
    /// # Panics
    /// When its configuration is wrong; [`TestBrokers::try_start`] gives the error instead.
    pub async fn start<S, R>(&self, app: App<S, R>) -> TestApp
    where
        S: Send + Sync + 'static,
        R: Adapters,
    {
        match self.try_start(app).await {
            Ok(test) => test,
            Err(error) => panic!("the app does not start: {error}"),
        }
    }

    /// Starts an app on these brokers.
    ///
    /// # Errors
    /// What is wrong with its configuration. What goes wrong in a route, such as a missing topic, ends the app later:
    /// [`TestApp::failure`].
    pub async fn try_start<S, R>(&self, mut app: App<S, R>) -> Result<TestApp>
    where
        S: Send + Sync + 'static,
        R: Adapters,
    {
        for name in app.backend_names() {
            let broker: Arc<dyn Backend> = Arc::new(self.broker(&name));
            let key = |leaf: &str| format!("backend.{name}.{leaf}");
            let partitions = i64::from(self.partitions);
            app = app
                .backend(&name, Arc::new(Connection::to(&broker)))
                .configure(|config| {
                    config
                        .set(&key("auto_create"), self.auto_create)
                        .set(&key("auto_create_partitions"), partitions)
                });
        }
        // Two owners must differ in their tokens, so that every start has a seed of its own.
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let journal = Arc::new(Journal::new(Arc::clone(&self.clock)));
        let running = app
            .clock(Arc::clone(&self.clock))
            .seed(self.seed.wrapping_add(start))
            .observed(Arc::clone(&journal) as _)
            .start()
            .await?;
        Ok(TestApp::new(self.clone(), running, journal))
    }
}

/// Every record of a topic, by partition and offset; none when the topic does not exist.
pub(crate) fn read_all(broker: &LogBroker, topic: &str) -> Result<Vec<(u32, Record)>> {
    let admin = broker.admin();
    let Some(described) = now(admin.topic(topic))? else {
        return Ok(Vec::new());
    };
    let topic: Arc<str> = topic.into();
    let mut reader = now(broker.reader())?;
    let mut batch = ReadBatch::default();
    let mut all = Vec::new();
    for partition in 0..described.partitions {
        let range = now(admin.offsets(&topic, partition))?;
        let mut next = range.start;
        reader.assign(&topic, partition, next)?;
        while next < range.end {
            now(std::future::poll_fn(|cx| {
                reader.poll_batch(cx, ALL, &mut batch)
            }))?;
            for record in batch.records.drain(..) {
                next = record.offset + 1;
                all.push((partition, record));
            }
        }
        reader.unassign(&topic, partition);
    }
    Ok(all)
}
