//! The handle that publishes at once, under the topic names of an app.
//!
//! It stands beside the messages that a handler returns, which are the better way wherever they fit: those are tied to the
//! settlement, and their ids are derived. A module of its own, because handlers take it as an argument and the app hands it
//! out.

use std::fmt;
use std::sync::Arc;

use crate::backend::{self, PublishOutcome, PublishRecord, Published};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::delivery::{Span, SpanEnd};
use crate::error::{Error, ErrorKind, Result};
use crate::message::Message;
use crate::trace::SendTracer;

/// Publishes at once, under the topic names of the app; cheap to clone.
///
/// An app gives one for each of its backends ([`AppHandle::publisher`](crate::app::AppHandle::publisher)). As an argument of a
/// handler (`Publisher` or `&Publisher`, a part) it publishes to the backend of the route. Return the messages instead
/// ([`Outgoing`](crate::handler::Outgoing)) unless the handler needs to know where one lies, has to publish before it goes on,
/// or has more to publish than it may hold.
///
/// - A message is durable when the await has given `Ok`, and not before. A future that is dropped (by the limit of a call, by a
///   revocation) may have published.
/// - Nothing ties it to the settlement: what was published stays when the handler fails afterwards, and a message that is
///   delivered again publishes again, at a new position.
/// - It derives no ids. Give each message one that is made from the id of the message in hand, so that whoever reads it can
///   tell a repeat.
/// - A route with `delivery = "exactly_once"` whose handler takes one is refused at its start: it would publish outside of the
///   transaction.
///
/// ```
/// use dotmsg_core::backend::Backend;
/// use dotmsg_core::error::Error;
/// use dotmsg_core::handler::{Json, MessageId};
/// use dotmsg_core::log::{LogBroker, LogOptions};
/// use dotmsg_core::message::Message;
/// use dotmsg_core::publisher::Publisher;
///
/// async fn ship(id: MessageId, publisher: Publisher, Json(parcels): Json<u32>) -> Result<(), Error> {
///     for parcel in 0..parcels {
///         let label = Message::new(parcel.to_string()).with_id(format!("{id}:parcel:{parcel}"));
///         let printed = publisher.publish("labels", label).await?;
///         println!("parcel {parcel} is label {}", printed.offset);
///     }
///     Ok(())
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// // A unit test makes one of a log in memory.
/// let mut options = LogOptions::default();
/// options.auto_create = true;
/// let log = LogBroker::memory(options);
/// let publisher = Publisher::new(log.publisher());
/// ship(MessageId("order-7".into()), publisher, Json(3)).await?;
/// # Ok::<(), Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Publisher(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    prefix: String,
    publisher: Arc<dyn backend::Publisher>,
    clock: Arc<dyn Clock>,
    tracer: Option<Arc<dyn SendTracer>>,
}

impl Publisher {
    /// Publishes by this publisher of a backend: without a prefix, stamped by the machine's clock.
    #[must_use]
    pub fn new(publisher: Arc<dyn backend::Publisher>) -> Self {
        Self(Arc::new(Inner {
            prefix: String::new(),
            publisher,
            clock: Arc::new(SystemClock),
            tracer: None,
        }))
    }

    /// The same with this before every topic name, as `topic_prefix` in the configuration.
    #[must_use]
    pub fn topic_prefix(mut self, prefix: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).prefix = prefix.into();
        self
    }

    /// The same, stamped by this clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        Arc::make_mut(&mut self.0).clock = clock;
        self
    }

    /// The same, traced: each call of it is a span below the current one, and its messages carry that context.
    #[must_use]
    pub fn tracer(mut self, tracer: Arc<dyn SendTracer>) -> Self {
        Arc::make_mut(&mut self.0).tracer = Some(tracer);
        self
    }

    /// Publishes one message and waits for its confirmation. A message stamped zero is stamped now.
    ///
    /// # Errors
    /// Not appended, or not known to be: an error that is transient may stand for a message that *was* appended.
    pub async fn publish(&self, topic: &str, message: Message) -> Result<Published> {
        let outcome = self.publish_all(topic, vec![message]).await.pop();
        outcome.map_or_else(
            || {
                Err(Error::new(
                    ErrorKind::Unexpected,
                    "publish",
                    "the backend gave no outcome",
                ))
            },
            PublishOutcome::into_result,
        )
    }

    /// Publishes messages in one call, each with an outcome of its own, in order.
    pub async fn publish_all(
        &self,
        topic: &str,
        mut messages: Vec<Message>,
    ) -> Vec<PublishOutcome> {
        let Inner {
            prefix,
            publisher,
            clock,
            tracer,
        } = &*self.0;
        let topic: Arc<str> = format!("{prefix}{topic}").into();
        let tracer = tracer.as_ref();
        let span = tracer.and_then(|tracer| tracer.send(&topic, &mut messages));
        let now = clock.now();
        let records = messages
            .into_iter()
            .map(|mut message| {
                if message.timestamp == Timestamp(0) {
                    message.timestamp = now;
                }
                PublishRecord {
                    topic: Arc::clone(&topic),
                    partition: None,
                    message,
                }
            })
            .collect();
        let outcomes = publisher.publish(records).await;
        if let Some(span) = span {
            end(span, &outcomes);
        }
        outcomes
    }
}

/// Ends the span of a call: it failed when one of its messages was not confirmed.
fn end(span: Box<dyn Span>, outcomes: &[PublishOutcome]) {
    let failure = outcomes.iter().find_map(|outcome| match outcome {
        PublishOutcome::Ok(_) => None,
        PublishOutcome::Failed(error) | PublishOutcome::Unknown(error) => Some(error),
    });
    match failure {
        None => span.end(SpanEnd::Done),
        Some(error) => span.end(SpanEnd::Failed {
            kind: &format!("{:?}", error.kind()),
            message: &error.to_string(),
        }),
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("prefix", &self.0.prefix)
            .field("publisher", &self.0.publisher)
            .finish_non_exhaustive()
    }
}
