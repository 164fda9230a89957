//! Partitions that a worker is to start nothing more of, while handlers of theirs still run.
//!
//! Nearly always there are none, which costs one look.

use super::reports::Reports;

#[derive(Debug)]
struct Entry {
    partition: u32,
    ownership: u32,
    running: usize,
}

/// Stopped partitions whose running handlers are being awaited.
#[derive(Debug, Default)]
pub(super) struct Stopping(Vec<Entry>);

impl Stopping {
    /// Awaits `running` handlers of a partition; with none it is drained already.
    pub(super) fn begin(
        &mut self,
        partition: u32,
        ownership: u32,
        running: usize,
        reports: &mut Reports,
    ) {
        if running == 0 {
            reports.drained(partition, ownership);
        } else {
            self.0.push(Entry {
                partition,
                ownership,
                running,
            });
        }
    }

    /// Whether nothing is awaited at all.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether handlers of this partition are awaited.
    #[inline]
    pub(super) fn has(&self, partition: u32) -> bool {
        self.0.iter().any(|entry| entry.partition == partition)
    }

    /// One of them has ended; with the last the partition is drained.
    pub(super) fn count_down(&mut self, partition: u32, reports: &mut Reports) {
        let of_partition = |entry: &Entry| entry.partition == partition;
        let Some(index) = self.0.iter().position(of_partition) else {
            return;
        };
        self.0[index].running -= 1;
        if self.0[index].running == 0 {
            let drained = self.0.remove(index);
            reports.drained(drained.partition, drained.ownership);
        }
    }

    /// They were dropped: the partition is drained, if it was awaited.
    pub(super) fn end(&mut self, partition: u32, reports: &mut Reports) {
        let of_partition = |entry: &mut Entry| entry.partition == partition;
        for drained in self.0.extract_if(.., of_partition) {
            reports.drained(drained.partition, drained.ownership);
        }
    }
}
