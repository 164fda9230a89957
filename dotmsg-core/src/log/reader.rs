//! Reading outside any group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::cursor::{Cursor, Read};
use super::shared::Shared;
use super::signal::Signal;
use super::topic::Topic;
use crate::backend::{BatchLimits, ReadBatch, Reader};
use crate::error::Result;

/// Reads the partitions it is told to, each in turn.
#[derive(Debug)]
pub(super) struct LogReader {
    shared: Arc<Shared>,
    signal: Arc<Signal>,
    topics: BTreeMap<Arc<str>, Arc<Topic>>,
    assigned: Vec<Assigned>,
    turn: usize,
}

#[derive(Debug)]
struct Assigned {
    topic: Arc<Topic>,
    partition: u32,
    cursor: Cursor,
}

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let signal = Arc::new(Signal::default());
        shared.health.watch(&signal);
        Self {
            shared,
            signal,
            topics: BTreeMap::new(),
            assigned: Vec::new(),
            turn: 0,
        }
    }

    fn find(&self, topic: &str, partition: u32) -> Option<usize> {
        self.assigned
            .iter()
            .position(|known| known.partition == partition && *known.topic.name == *topic)
    }

    fn fill(&mut self, limits: BatchLimits, batch: &mut ReadBatch) -> Result<bool> {
        self.shared.health.check("read")?;
        let count = self.assigned.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let assigned = &mut self.assigned[index];
            assigned.topic.check("read")?;
            while let Read::Overtaken { start } = assigned.cursor.read(
                &assigned.topic,
                assigned.partition,
                limits,
                &mut batch.records,
            )? {
                let first = batch.removed.as_ref().map(|removed| removed.start);
                batch.removed = Some(first.unwrap_or(assigned.cursor.next())..start);
                assigned.cursor = Cursor::at(start);
            }
            if !batch.records.is_empty() || batch.removed.is_some() {
                batch.topic = Some(Arc::clone(&assigned.topic.name));
                batch.partition = assigned.partition;
                self.turn = (index + 1) % count;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Reader for LogReader {
    fn assign(&mut self, topic: &Arc<str>, partition: u32, from: u64) -> Result<()> {
        let found = self.shared.topic("assign", topic)?;
        found.known(partition, "assign")?;
        if self
            .topics
            .insert(Arc::clone(&found.name), Arc::clone(&found))
            .is_none_or(|before| !Arc::ptr_eq(&before, &found))
        {
            found.watch(&self.signal);
        }
        self.unassign(topic, partition);
        self.assigned.push(Assigned {
            topic: found,
            partition,
            cursor: Cursor::at(from),
        });
        self.signal.raise();
        Ok(())
    }

    fn unassign(&mut self, topic: &str, partition: u32) {
        if let Some(index) = self.find(topic, partition) {
            self.assigned.remove(index);
            self.turn = 0;
        }
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut ReadBatch,
    ) -> Poll<Result<()>> {
        batch.records.clear();
        batch.topic = None;
        batch.removed = None;
        while self.signal.wait(cx).is_ready() {
            let result = self.fill(limits, batch);
            if !matches!(result, Ok(false)) {
                self.signal.keep();
                return Poll::Ready(result.map(|_| ()));
            }
        }
        Poll::Pending
    }
}
