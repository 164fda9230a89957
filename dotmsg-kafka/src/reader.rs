//! Reading outside of any group: a consumer that is told its partitions.
//!
//! Retry and replay partitions are the group's own and follow their source partition, so they must not be balanced by
//! themselves: one consumer `assign`s them. Its thread is the member's without a group; a seek that librdkafka does not take yet
//! is tried again, and what retention removed is told as a range, after which reading goes on.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::thread;
use std::time::Duration;

use dotmsg_core::backend::{BatchLimits, ReadBatch, Reader};
use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use crate::admin::KafkaAdmin;
use crate::backend::AHEAD;
use crate::bell::Bell;
use crate::consumer::{PolledConsumer, at, list};
use crate::fetch::{Fetch, Trouble};
use crate::inbox::{Begin, Chunk, Inbox};
use crate::lock;
use crate::settings::Settings;

#[derive(Debug)]
enum Command {
    Assign(Arc<str>, u32, Begin),
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
        let consumer = PolledConsumer::open("open reader", &settings.reader())?;
        let bell = Arc::clone(&consumer.bell);
        let inbox = Arc::new(Mutex::new(Inbox::new(AHEAD)));
        let (commands, obeyed) = channel();
        let reading = Reading {
            inbox: Arc::clone(&inbox),
            consumer,
            commands: obeyed,
            fetch: Fetch::new(),
            assigned: BTreeMap::new(),
            starts: Vec::new(),
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
    consumer: PolledConsumer,
    commands: Receiver<Command>,
    fetch: Fetch,
    /// The partitions that librdkafka has, each with its last start.
    assigned: BTreeMap<(Arc<str>, u32), Begin>,
    starts: Vec<(Arc<str>, u32, Begin)>,
}

impl Reading {
    fn run(mut self) {
        self.consumer.bell.mine();
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
                && self.fetch.turn(
                    &self.consumer.messages,
                    &self.inbox,
                    &mut troubles,
                    |_, _, _| {},
                );
            for trouble in troubles {
                self.trouble(trouble);
            }
            if !had_some {
                self.consumer.wait(!self.starts.is_empty());
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
            && let Err(error) = self.consumer.client.incremental_unassign(&gone)
        {
            tracing::debug!(%error, "a partition is not unassigned");
        }
    }

    /// Assigns a partition that is new, and seeks in one that is not.
    fn begin(&mut self, topic: &Arc<str>, partition: u32, from: Begin) -> Result<(), KafkaError> {
        let to = list(topic, &[partition], at(from.offset));
        let key = (Arc::clone(topic), partition);
        if self.assigned.contains_key(&key) {
            self.consumer.seek(to)?;
        } else {
            self.consumer.receive(topic, &[partition]);
            self.consumer.client.incremental_assign(&to)?;
            self.consumer.receive(topic, &[partition]);
        }
        self.assigned.insert(key, from);
        self.fetch.start(topic, partition, 0, from);
        Ok(())
    }

    fn serve(&mut self) {
        if !self.consumer.is_due() {
            return;
        }
        for _ in 0..self.consumer.polls() {
            if let Some(Err(error)) = self.consumer.client.poll(Duration::ZERO) {
                tracing::warn!(%error, "kafka reader");
            }
        }
        self.consumer.polled();
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
        let first = self.consumer.first_offset(topic, partition)?;
        let Some(Begin { start, .. }) = self.assigned.get(&(Arc::clone(topic), partition)).copied()
        else {
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
        self.starts.push((
            Arc::clone(topic),
            partition,
            Begin {
                offset: first,
                start,
            },
        ));
        Ok(())
    }
}
