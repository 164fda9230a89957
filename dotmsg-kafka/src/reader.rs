//! Reading outside of any group: a consumer that is told its partitions.
//!
//! Retry and replay partitions are the group's own and follow their source partition, so they must not be balanced by
//! themselves: one consumer `assign`s them. Its thread is the member's without a group; a seek that librdkafka does not take yet
//! is tried again, and what retention removed is told as a range, after which reading goes on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::thread;
use std::time::{Duration, Instant};

use dotmsg_core::backend::{BatchLimits, ReadBatch, Reader};
use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use crate::admin::KafkaAdmin;
use crate::backend::AHEAD;
use crate::bell::Bell;
use crate::context::Context;
use crate::error;
use crate::fetch::{Fetch, Trouble};
use crate::inbox::{Chunk, Inbox};
use crate::lock;
use crate::native::{self, Queue};
use crate::now;
use crate::polling::list;
use crate::settings::Settings;

const IDLE: Duration = Duration::from_millis(200);
const AGAIN: Duration = Duration::from_millis(10);
const SEEK: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Command {
    Assign(Arc<str>, u32, (u64, u64)),
    Unassign(Arc<str>, u32),
}

/// A reader of many partitions.
pub(crate) struct KafkaReader {
    inbox: Arc<Mutex<Inbox>>,
    bell: Arc<Bell>,
    admin: Arc<KafkaAdmin>,
    commands: Option<Sender<Command>>,
}

impl KafkaReader {
    pub(crate) fn open(settings: &Settings, admin: &Arc<KafkaAdmin>) -> Result<Self> {
        let (bell, events) = (Arc::new(Bell::default()), Arc::new(AtomicBool::new(true)));
        let mut consumer: BaseConsumer<Context> = settings
            .reader()
            .create_with_context(Context::default())
            .map_err(|error| error::of_client("open reader", error))?;
        let (ring, flag) = (Arc::clone(&bell), Arc::clone(&events));
        consumer.set_nonempty_callback(move || {
            flag.store(true, Ordering::Release);
            ring.ring();
        });
        let consumer = Arc::new(consumer);
        let mut messages = Queue::new(&consumer);
        let ring = Arc::clone(&bell);
        messages.on_arrival(move || ring.ring());
        let inbox = Arc::new(Mutex::new(Inbox::new(AHEAD)));
        let (commands, obeyed) = channel();
        let reading = Reading {
            inbox: Arc::clone(&inbox),
            bell: Arc::clone(&bell),
            consumer,
            messages,
            events,
            commands: obeyed,
            fetch: Fetch::new(),
            assigned: BTreeMap::new(),
            starts: Vec::new(),
            polled: None,
        };
        thread::Builder::new()
            .name("kafka reader".to_owned())
            .spawn(move || reading.run())
            .map_err(|error| {
                Error::new(ErrorKind::Unexpected, "open reader", "no thread").source_error(error)
            })?;
        Ok(Self {
            inbox,
            bell,
            admin: Arc::clone(admin),
            commands: Some(commands),
        })
    }

    fn send(&self, command: Command) -> Result<()> {
        let sent = self
            .commands
            .as_ref()
            .is_some_and(|commands| commands.send(command).is_ok());
        self.bell.ring();
        match sent {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::Closed,
                "read",
                "the reader has ended",
            )),
        }
    }
}

impl Reader for KafkaReader {
    fn assign(&mut self, topic: &Arc<str>, partition: u32, from: u64) -> Result<()> {
        self.admin.check_partition(topic, partition)?;
        let from = lock(&self.inbox).start(topic, partition, Some(from));
        let from = from.expect("a start that says from where has one");
        self.send(Command::Assign(Arc::clone(topic), partition, from))
    }

    fn unassign(&mut self, topic: &str, partition: u32) {
        let topic: Arc<str> = topic.into();
        lock(&self.inbox).forget(&topic, partition);
        let _ = self.send(Command::Unassign(topic, partition));
    }

    fn poll_batch(
        &mut self,
        cx: &mut TaskContext<'_>,
        limits: BatchLimits,
        batch: &mut ReadBatch,
    ) -> Poll<Result<()>> {
        let polled = lock(&self.inbox).poll_take(cx, limits, &mut batch.records);
        let Poll::Ready(taken) = polled else {
            return Poll::Pending;
        };
        let (chunk, room) = taken?;
        if room {
            self.bell.ring();
        }
        batch.topic = Some(chunk.topic);
        batch.partition = chunk.partition;
        batch.removed = chunk.removed;
        Poll::Ready(Ok(()))
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        // The thread ends once nobody can command it.
        self.commands = None;
        self.bell.ring();
    }
}

/// The thread's own state.
struct Reading {
    inbox: Arc<Mutex<Inbox>>,
    bell: Arc<Bell>,
    consumer: Arc<BaseConsumer<Context>>,
    messages: Queue<Context>,
    events: Arc<AtomicBool>,
    commands: Receiver<Command>,
    fetch: Fetch,
    /// The partitions that librdkafka has, each with its last start.
    assigned: BTreeMap<(Arc<str>, u32), (u64, u64)>,
    starts: Vec<(Arc<str>, u32, (u64, u64))>,
    polled: Option<Instant>,
}

impl Reading {
    fn run(mut self) {
        self.bell.mine();
        while self.obey() {
            self.serve();
            for (topic, partition, from) in std::mem::take(&mut self.starts) {
                if let Err(error) = self.begin(&topic, partition, from) {
                    tracing::debug!(topic = &*topic, partition, %error, "reading starts later");
                    self.starts.push((topic, partition, from));
                }
            }
            let mut troubles = Vec::new();
            let had_some = lock(&self.inbox).has_room()
                && self
                    .fetch
                    .turn(&self.messages, &self.inbox, &mut troubles, |_, _, _| {});
            for trouble in troubles {
                self.trouble(trouble);
            }
            if !had_some {
                let wait = if self.starts.is_empty() { IDLE } else { AGAIN };
                self.bell.wait(wait);
            }
        }
        lock(&self.inbox).fail(Error::new(
            ErrorKind::Closed,
            "read",
            "the reader has ended",
        ));
    }

    /// `false`: nobody reads any more.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Assign(topic, partition, from)) => {
                    self.starts
                        .retain(|(of, number, _)| (of, *number) != (&topic, partition));
                    self.fetch.stop(&topic, partition);
                    self.starts.push((topic, partition, from));
                }
                Ok(Command::Unassign(topic, partition)) => self.end(topic, partition),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn end(&mut self, topic: Arc<str>, partition: u32) {
        self.starts
            .retain(|(of, number, _)| (of, *number) != (&topic, partition));
        self.fetch.stop(&topic, partition);
        let gone = list(&topic, &[partition], Offset::Invalid);
        if self.assigned.remove(&(topic, partition)).is_some()
            && let Err(error) = self.consumer.incremental_unassign(&gone)
        {
            tracing::debug!(%error, "a partition is not unassigned");
        }
    }

    /// Assigns a partition that is new, and seeks in one that is not.
    fn begin(
        &mut self,
        topic: &Arc<str>,
        partition: u32,
        from: (u64, u64),
    ) -> Result<(), KafkaError> {
        let offset = Offset::Offset(i64::try_from(from.0).unwrap_or(i64::MAX));
        let key = (Arc::clone(topic), partition);
        if self.assigned.contains_key(&key) {
            let sought = self
                .consumer
                .seek_partitions(list(topic, &[partition], offset), SEEK)?;
            for element in sought.elements() {
                element.error()?;
            }
        } else {
            self.messages.receive(topic, partition);
            self.consumer
                .incremental_assign(&list(topic, &[partition], offset))?;
            // Again, for librdkafka forgets it when it stops reading a partition.
            self.messages.receive(topic, partition);
        }
        self.assigned.insert(key, from);
        self.fetch.start(topic, partition, 0, from);
        Ok(())
    }

    fn serve(&mut self) {
        let due = self.polled.is_none_or(|polled| polled.elapsed() >= IDLE);
        if !self.events.swap(false, Ordering::AcqRel) && !due {
            return;
        }
        self.polled = Some(now());
        while let Some(polled) = self.consumer.poll(Duration::ZERO) {
            if let Err(error) = polled {
                tracing::warn!(%error, "kafka reader");
            }
        }
    }

    fn trouble(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Failed(error) => lock(&self.inbox).fail(error),
            Trouble::OutOfRange {
                topic,
                partition,
                position,
                ..
            } => {
                if let Err(error) = self.skip(&topic, partition, position) {
                    lock(&self.inbox).fail(error);
                }
            }
        }
    }

    /// Tells what is gone, and goes on at what is left.
    fn skip(&mut self, topic: &Arc<str>, partition: u32, position: u64) -> Result<()> {
        let number = i32::try_from(partition).unwrap_or(i32::MAX);
        let (first, _) = self
            .consumer
            .fetch_watermarks(topic, number, native::CALL)
            .map_err(|error| {
                error::of_client("look up the log's start", error).with("topic", topic)
            })?;
        let first = u64::try_from(first).unwrap_or(0);
        let Some((_, start)) = self.assigned.get(&(Arc::clone(topic), partition)).copied() else {
            return Ok(());
        };
        if position >= first {
            return Err(Error::new(
                ErrorKind::PositionLost,
                "read",
                "the log was cut short: it ends before what was to be read next",
            )
            .with("topic", topic)
            .with("partition", partition)
            .with("position", position));
        }
        lock(&self.inbox).put(Chunk {
            topic: Arc::clone(topic),
            partition,
            grant: 0,
            start,
            records: Vec::new(),
            removed: Some(position..first),
        });
        // librdkafka does not read it any more, and would not seek in it: it is assigned anew.
        self.end(Arc::clone(topic), partition);
        self.starts
            .push((Arc::clone(topic), partition, (first, start)));
        Ok(())
    }
}
