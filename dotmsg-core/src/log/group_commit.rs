//! One group: what the writer thread does with everything that waited.
//!
//! Order is what matters: write all, sync all, positions after the records they may speak of, then show, then answer.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;

use super::disk::write_error_kind;
use super::ends::End;
use super::head::Head;
use super::journal::Change;
use super::lock;
use super::options::Fsync;
use super::topic::{Partition, Topic};
use super::writer::{Desk, Done, Firsts, Order, Part, Waiter, refuse};
use crate::clock::Timestamp;

/// Files that are synced at the same time: twice as many are no faster (measured on ext4 on a virtual disk: 24 files take 29 ms one
/// by one, 6 ms by 4, 4.4 ms by 8, 4.7 ms by 24).
const SYNCS_AT_ONCE: usize = 8;

/// The thread's state.
pub(super) struct Work {
    desk: Desk,
    heads: BTreeMap<(u64, u32), Head>,
}

/// Everything of a group that waits for its end.
#[derive(Default)]
struct Group {
    appends: Vec<(Waiter<Firsts>, Firsts)>,
    changes: Vec<Change>,
    stamp: Timestamp,
    units: Vec<Waiter<()>>,
    deletes: Vec<(Arc<Topic>, oneshot::Sender<io::Result<()>>)>,
    stop: Option<oneshot::Sender<()>>,
}

impl Work {
    pub(super) fn new(desk: Desk) -> Self {
        Self {
            desk,
            heads: BTreeMap::new(),
        }
    }

    /// Carries a group of orders out; gives whom to tell of the stop, when one was among them.
    pub(super) fn group(&mut self, orders: Vec<Order>) -> Option<oneshot::Sender<()>> {
        let mut group = Group::default();
        let mut result = Ok(());
        let failed = self.desk.health.has_failed();
        for order in orders {
            match order {
                Order::Stop(waiter) => group.stop = Some(waiter),
                order if failed => refuse(order),
                Order::Append(parts, waiter) => {
                    let mut firsts = Vec::with_capacity(parts.len());
                    if result.is_ok() {
                        result = self.stage(parts, &mut firsts);
                    }
                    group.appends.push((waiter, firsts));
                }
                Order::Positions(mut changes, stamp, waiter) => {
                    group.changes.append(&mut changes);
                    group.stamp = stamp;
                    group.units.push(waiter);
                }
                Order::Barrier(waiter) => group.units.push(waiter),
                Order::Delete(topic, waiter) => group.deletes.push((topic, waiter)),
            }
        }
        // After a failure nothing is written any more: what is still unconfirmed must not be synced after all.
        let result = match failed {
            true => Ok(()),
            false => result.and_then(|()| self.commit(&group)),
        };
        self.answer(group, result)
    }

    /// Writes the parts of one call, or keeps them for one larger write.
    fn stage(&mut self, parts: Vec<Part>, firsts: &mut Firsts) -> io::Result<()> {
        for mut part in parts {
            if part.topic.check("publish").is_err() {
                firsts.push(None);
                continue;
            }
            let key = (part.topic.number, part.partition);
            let head = match self.heads.entry(key) {
                Entry::Occupied(head) => head.into_mut(),
                Entry::Vacant(none) => none.insert(Head::open(
                    &*self.desk.disk,
                    Arc::clone(&part.topic),
                    part.partition,
                )?),
            };
            firsts.push(Some(head.next()));
            for frame in part.frames.drain(..) {
                if head.is_full(frame.len() as u64, self.desk.segment_bytes) {
                    head.roll(&*self.desk.disk)?;
                }
                head.write(frame, part.stamp)?;
            }
        }
        Ok(())
    }

    /// Makes everything durable, then visible: records first, positions after them.
    fn commit(&mut self, group: &Group) -> io::Result<()> {
        let dirty = self.heads.values_mut().filter(|head| head.is_dirty());
        flush(&mut dirty.collect::<Vec<_>>(), self.desk.fsync)?;
        self.note(group)?;
        for head in self.heads.values_mut().filter(|head| head.is_dirty()) {
            let rolled = confirm(head);
            if rolled && let Err((file, error)) = head.topic().sweep(head.partition()) {
                tracing::warn!(
                    file = %file.display(), %error,
                    "an expired segment stays, and those after it, until it can be removed"
                );
            }
        }
        if !group.changes.is_empty() {
            let mut positions = lock(&self.desk.positions);
            for (key, record) in &group.changes {
                positions.put(key.clone(), record.clone());
            }
            self.desk.journal.shrink(&positions)?;
        }
        Ok(())
    }

    /// Writes the journal, when there are positions; and at the end, when there are records that it has not heard of.
    fn note(&mut self, group: &Group) -> io::Result<()> {
        if group.changes.is_empty() && group.stop.is_none() {
            return Ok(());
        }
        let ends: Vec<End> = match self.desk.fsync {
            Fsync::Group => self.heads.values_mut().filter_map(Head::take_end).collect(),
            Fsync::Never => Vec::new(),
        };
        if group.changes.is_empty() && ends.is_empty() {
            return Ok(());
        }
        self.desk.journal.write(&group.changes, ends, group.stamp)?;
        match self.desk.fsync {
            Fsync::Group => self.desk.journal.sync(),
            Fsync::Never => Ok(()),
        }
    }

    fn answer(&mut self, group: Group, result: io::Result<()>) -> Option<oneshot::Sender<()>> {
        if let Err(error) = &result {
            let reason = format!("a write to the log failed and closed it: {error}");
            self.desk.health.fail(write_error_kind(error), reason);
        }
        let ok = result.is_ok();
        for (waiter, firsts) in group.appends {
            let _ = waiter.send(if ok { Done::Ok(firsts) } else { Done::Unknown });
        }
        for waiter in group.units {
            let _ = waiter.send(if ok { Done::Ok(()) } else { Done::Unknown });
        }
        for (topic, waiter) in group.deletes {
            self.heads.retain(|(number, _), _| *number != topic.number);
            let _ = waiter.send(self.desk.directory.delete_topic(&topic));
        }
        group.stop
    }
}

/// Writes and syncs heads, several at a time: a device and a journaling file system carry out syncs that come together
/// in a fraction of the time they take one after the other, and a group often touches every partition of a topic.
fn flush(heads: &mut [&mut Head], fsync: Fsync) -> io::Result<()> {
    let share = match fsync {
        Fsync::Group => heads.len().div_ceil(SYNCS_AT_ONCE).max(1),
        Fsync::Never => heads.len().max(1),
    };
    let flush_share =
        move |share: &mut [&mut Head]| share.iter_mut().try_for_each(|head| head.flush(fsync));
    thread::scope(|scope| {
        let mut shares = heads.chunks_mut(share);
        let own = shares.next();
        let others: Vec<_> = shares
            .map(|share| scope.spawn(move || flush_share(share)))
            .collect();
        let own = own.map_or(Ok(()), flush_share);
        others.into_iter().fold(own, |result, other| {
            let panicked = |_| Err(io::Error::other("a thread that syncs a file panicked"));
            result.and(other.join().unwrap_or_else(panicked))
        })
    })
}

/// Shows a head's records to readers, and applies retention when a segment began; whether one did.
fn confirm(head: &mut Head) -> bool {
    let topic = Arc::clone(head.topic());
    let index = head.partition() as usize;
    let written = head.take_written();
    let rolled = written.len() > 1;
    let retention = topic.limits().at(head.newest());
    topic.grow(|partitions| {
        if let Partition::Disk(segments) = &mut partitions[index] {
            segments.confirm(written.into_iter());
            if rolled {
                segments.apply(&retention);
            }
        }
    });
    rolled
}
