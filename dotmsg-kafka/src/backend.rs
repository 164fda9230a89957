//! The backend: clients made from one set of settings.
//!
//! The producer and the administrator are shared by all that asks for them; each membership and each reader has a consumer and a
//! thread of its own. A partitioner of the application's makes a second handle of the connection, with a producer that asks it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use dotmsg_core::backend::{
    Admin, Backend, BackendFactory, BackendOptions, BatchLimits, BoxFuture, Capability, Membership,
    Partitioner, Publisher, Reader, Subscription,
};
use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::consumer::Consumer;

use crate::admin::KafkaAdmin;
use crate::capability;
use crate::consumer::PolledConsumer;
use crate::contact;
use crate::control::KafkaControl;
use crate::error;
use crate::inbox::Inbox;
use crate::lock;
use crate::member::{Client, Member};
use crate::polling::Polling;
use crate::publisher::KafkaPublisher;
use crate::reader::KafkaReader;
use crate::settings::Settings;
use crate::source::KafkaSource;
use crate::transactions::KafkaTransactions;

/// What is handed over ahead of the runtime, at most (and one batch more).
pub(crate) const AHEAD: BatchLimits = BatchLimits {
    messages: 8_192,
    bytes: 4 << 20,
};
/// How long members may take to leave when the backend is closed.
const LEAVE: Duration = Duration::from_secs(5);

/// An open connection to a Kafka cluster.
#[derive(Debug)]
pub struct KafkaBackend {
    settings: Arc<Settings>,
    publisher: Arc<KafkaPublisher>,
    admin: Arc<KafkaAdmin>,
    /// Whom its producers ask about keys; murmur2 without.
    partitioner: Option<Arc<dyn Partitioner>>,
    open: Arc<Open>,
}

/// What is closed with the connection: it is one connection also where a second handle of it has a partitioner.
#[derive(Debug, Default)]
struct Open {
    members: Mutex<Vec<Weak<KafkaControl>>>,
    publishers: Mutex<Vec<Weak<KafkaPublisher>>>,
    closed: AtomicBool,
}

impl KafkaBackend {
    /// Opens one. The cluster has to be there: a wrong address is an error here, and not a silence later.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], [`ErrorKind::Unreachable`], [`ErrorKind::Denied`].
    pub async fn open(options: &BackendOptions) -> Result<Self> {
        let settings = Arc::new(Settings::of(options)?);
        let reached = Arc::clone(&settings);
        blocking("open kafka", move || contact::reach(&reached))
            .await
            .map_err(|error| error.with("backend", &settings.name))?;
        let admin = Arc::new(KafkaAdmin::open(&settings)?);
        Self::publishing(settings, admin, Arc::default(), None)
    }

    /// A handle with a publisher of its own.
    fn publishing(
        settings: Arc<Settings>,
        admin: Arc<KafkaAdmin>,
        open: Arc<Open>,
        partitioner: Option<Arc<dyn Partitioner>>,
    ) -> Result<Self> {
        let publisher = Arc::new(KafkaPublisher::open(&settings, partitioner.clone())?);
        lock(&open.publishers).push(Arc::downgrade(&publisher));
        Ok(Self {
            settings,
            publisher,
            admin,
            partitioner,
            open,
        })
    }

    fn check(&self, operation: &'static str) -> Result<()> {
        match self.open.closed.load(Ordering::Acquire) {
            true => Err(
                Error::new(ErrorKind::Closed, operation, "the backend was closed")
                    .with("backend", &self.settings.name),
            ),
            false => Ok(()),
        }
    }

    async fn join(&self, subscription: Subscription) -> Result<Membership> {
        self.check("subscribe")?;
        let Subscription { topic, group, .. } = &subscription;
        if self.admin.topic(topic).await?.is_none() {
            return Err(
                Error::new(ErrorKind::NotFound, "subscribe", "the topic does not exist")
                    .with("topic", topic)
                    .with("backend", &self.settings.name),
            );
        }
        self.admin.check_durability(topic).await?;
        if subscription.exclusive {
            self.admin.check_nobody_in(group).await?;
        }
        let config = self
            .settings
            .member(group, topic, subscription.instance.as_deref());
        let consumer = PolledConsumer::open("subscribe", &config)?;
        let replies = Arc::new(consumer.queue());
        let client = Client {
            consumer: Arc::clone(&consumer.client),
            replies: Arc::clone(&replies),
        };
        let member = Arc::new(Member::new(
            Arc::clone(topic),
            Arc::clone(group),
            Arc::clone(&consumer.bell),
            Inbox::new(AHEAD),
            client,
        ));
        let transactions = match subscription.transactions {
            Some(open_for) => Some(self.transactions(&member, &subscription, open_for).await?),
            None => None,
        };
        consumer
            .client
            .subscribe(&[topic])
            .map_err(|error| error::of_client("subscribe", error))?;
        let (commands, obeyed) = channel();
        let polling = Polling::new(
            Arc::clone(&member),
            consumer,
            replies,
            obeyed,
            (config, self.settings.max_poll_interval()),
            Arc::clone(&self.admin),
        );
        thread::Builder::new()
            .name(format!("kafka {topic}"))
            .spawn(move || polling.run())
            .map_err(|error| {
                Error::new(ErrorKind::Unexpected, "subscribe", "no thread").source_error(error)
            })?;
        let control = Arc::new(KafkaControl::new(
            Arc::clone(&member),
            commands,
            transactions,
        ));
        let mut members = lock(&self.open.members);
        members.retain(|member| member.strong_count() > 0);
        members.push(Arc::downgrade(&control));
        Ok((Box::new(KafkaSource { member }), control))
    }

    /// The transactions of a member. Its id is its own, for as long as it is a static member, or lives.
    async fn transactions(
        &self,
        member: &Arc<Member>,
        subscription: &Subscription,
        open_for: Duration,
    ) -> Result<Arc<KafkaTransactions>> {
        let timeout = self.settings.transaction_timeout();
        if open_for * 2 > timeout {
            return Err(Error::new(
                ErrorKind::Config,
                "subscribe",
                "transactions would be ended by the broker before they are committed",
            )
            .with("commit_interval", format!("{open_for:?}"))
            .with("transaction.timeout.ms", timeout.as_millis())
            .remedy("Commit at least twice as often, or raise \"transaction.timeout.ms\" in [backend.<name>.kafka]"));
        }
        let own = match &subscription.instance {
            Some(instance) => instance.to_string(),
            None => format!("{:016x}", fastrand::u64(..)),
        };
        let id = format!("{}.{}.{own}", subscription.topic, subscription.group);
        let config = self.settings.transactional(&id);
        let most = self.settings.max_record_bytes();
        let partitioner = self.partitioner.clone();
        KafkaTransactions::open(Arc::clone(member), config, most, partitioner)
            .await
            .map(Arc::new)
    }

    async fn end(&self) -> Result<()> {
        if self.open.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let members: Vec<_> = lock(&self.open.members)
            .drain(..)
            .filter_map(|member| member.upgrade())
            .collect();
        for member in members {
            // Whether it left in time changes nothing: the group notices.
            let _ = dotmsg_core::backend::Control::close(&*member, LEAVE).await;
        }
        let publishers: Vec<_> = lock(&self.open.publishers)
            .drain(..)
            .filter_map(|publisher| publisher.upgrade())
            .collect();
        let mut closed = Ok(());
        for publisher in publishers {
            closed = closed.and(publisher.close().await);
        }
        closed
    }
}

impl Backend for KafkaBackend {
    fn capability(&self) -> Capability {
        capability::of(&self.settings)
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Box::pin(self.join(subscription))
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::clone(&self.publisher) as _
    }

    fn partitioned_by(&self, partitioner: Arc<dyn Partitioner>) -> Result<Arc<dyn Backend>> {
        self.check("set partitioner")?;
        self.settings.check_no_partitioner()?;
        let partitioned = Self::publishing(
            Arc::clone(&self.settings),
            Arc::clone(&self.admin),
            Arc::clone(&self.open),
            Some(partitioner),
        )?;
        Ok(Arc::new(partitioned))
    }

    fn reader(&self) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        Box::pin(async move {
            self.check("open reader")?;
            KafkaReader::open(&self.settings, &self.admin)
                .map(|reader| Box::new(reader) as Box<dyn Reader>)
        })
    }

    fn admin(&self) -> Arc<dyn Admin> {
        Arc::clone(&self.admin) as _
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.end())
    }
}

/// Opens `kafka://host:9092,other:9092`.
#[must_use]
pub fn kafka_factory() -> BackendFactory {
    Arc::new(|options| {
        Box::pin(async move {
            let backend = KafkaBackend::open(&options).await?;
            Ok(Arc::new(backend) as Arc<dyn Backend>)
        })
    })
}

/// Runs what blocks its thread, off the runtime's.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let called = tokio::task::spawn_blocking(call).await;
    called.unwrap_or_else(|error| {
        Err(Error::new(
            ErrorKind::Unexpected,
            operation,
            error.to_string(),
        ))
    })
}
