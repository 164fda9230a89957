//! A worker against a naive model of what it may and must do.
//!
//! Handlers end when the test says so. Each start is judged at the moment it happens, from the plain list of all messages:
//! nothing of a key may start beside, before or instead of what is ahead of it. After each poll nothing that could run may
//! wait, everything that ended is reported once, and nothing is kept for keys that are no longer in hand.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::MutexGuard;

use proptest::prelude::*;

use super::*;
use crate::runtime::reports::Report;

const PARTITIONS: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// A message of a partition and key (0: without one); with an end, its handler is ready at once.
    Offer(usize, u8, Option<End>),
    /// A running handler ends.
    Finish(usize, End),
    /// An away head is due.
    Due(usize),
    Stop(usize),
    Abandon(usize),
    Poll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// An away head that is due.
    Due,
    Running,
    Away,
    /// Given up by its handler: nothing of its key may start any more.
    Interrupted,
    /// Handled, or dropped with its partition.
    Gone,
}

#[derive(Debug)]
struct Told {
    partition: usize,
    key: u8,
    state: State,
}

/// The plain list of all messages, by id.
#[derive(Debug, Default)]
struct Model {
    messages: BTreeMap<u64, Told>,
    stopped: [bool; PARTITIONS],
    /// How handlers end; one that is not here is pending.
    ends: BTreeMap<u64, End>,
    wakers: BTreeMap<u64, Waker>,
    /// Ended, not yet reported.
    unreported: BTreeSet<u64>,
}

impl Model {
    fn in_state(&self, state: State) -> Vec<u64> {
        let of_state = |(id, told): (&u64, &Told)| (told.state == state).then_some(*id);
        self.messages.iter().filter_map(of_state).collect()
    }

    fn running_in(&self, partition: usize) -> usize {
        self.messages
            .values()
            .filter(|told| told.partition == partition && told.state == State::Running)
            .count()
    }

    /// The others of a message's key; none for one without a key.
    fn others(&self, id: u64) -> impl Iterator<Item = (u64, &Told)> {
        let (partition, key) = (self.messages[&id].partition, self.messages[&id].key);
        self.messages
            .iter()
            .filter(move |(other, told)| {
                **other != id && key != 0 && (told.partition, told.key) == (partition, key)
            })
            .map(|(other, told)| (*other, told))
    }

    /// Whether the rules let a message that waits start now, permits apart.
    fn may_start(&self, id: u64) -> bool {
        let told = &self.messages[&id];
        let ahead = |(other, one): (u64, &Told)| match one.state {
            State::Running | State::Away | State::Interrupted | State::Due => true,
            State::Waiting => told.state == State::Waiting && other < id,
            State::Gone => false,
        };
        matches!(told.state, State::Waiting | State::Due)
            && !self.stopped[told.partition]
            && !self.others(id).any(ahead)
    }

    fn start(&mut self, id: u64) {
        assert!(self.may_start(id), "{id} must not start: {self:#?}");
        let due = self.in_state(State::Due);
        assert!(
            self.messages[&id].state == State::Due || !due.iter().any(|due| self.may_start(*due)),
            "{id} starts before a head that is due: {self:#?}"
        );
        assert!(
            self.in_state(State::Running).len() < LIMIT,
            "{id} starts beyond the limit"
        );
        self.set(id, State::Running);
    }

    fn set(&mut self, id: u64, state: State) {
        self.messages.get_mut(&id).expect("it was offered").state = state;
    }

    /// Messages that wait behind an away head, of one partition.
    fn parked(&self, partition: usize) -> i64 {
        let is_parked = |id: &u64| {
            self.messages[id].partition == partition
                && self.others(*id).any(|(_, told)| told.state == State::Away)
        };
        self.in_state(State::Waiting)
            .iter()
            .filter(|id| is_parked(id))
            .count() as i64
    }
}

/// A handler that ends when the model says so.
struct Gate {
    id: u64,
    model: Arc<Mutex<Model>>,
    polled: bool,
}

impl Future for Gate {
    type Output = Result<Outcome, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let first = !std::mem::replace(&mut self.polled, true);
        let mut model = self.model.lock().unwrap();
        let Some(end) = model.ends.get(&self.id).copied() else {
            model.wakers.insert(self.id, cx.waker().clone());
            return Poll::Pending;
        };
        if first && matches!(end, End::PutBack) {
            // As those that put back do it: never at the first poll.
            cx.waker().wake_by_ref();
            model.wakers.insert(self.id, cx.waker().clone());
            return Poll::Pending;
        }
        model.ends.remove(&self.id);
        if !matches!(end, End::PutBack) {
            model.unreported.insert(self.id);
        }
        let told = &model.messages[&self.id];
        // Nobody waits for a message without a key, or in a partition that is being given up.
        let alone = told.key == 0 || model.stopped[told.partition];
        let state = match end {
            End::Handled => State::Gone,
            End::PutBack if model.stopped[told.partition] => State::Gone,
            End::PutBack => State::Waiting,
            End::Away | End::Interrupted if alone => State::Gone,
            End::Away => State::Away,
            End::Interrupted => State::Interrupted,
        };
        model.set(self.id, state);
        Poll::Ready(Ok(end.outcome(self.id)))
    }
}

struct Subject<S: Service<Delivery>> {
    worker: Worker<S>,
    model: Arc<Mutex<Model>>,
    streams: Vec<Arc<Stream>>,
    ownerships: [u32; PARTITIONS],
    /// Reported as parked, under the current ownership.
    parked: [i64; PARTITIONS],
    /// Stopped and not yet drained.
    stopping: [bool; PARTITIONS],
    reports: Reports,
    next: u64,
}

fn subject()
-> Subject<impl Service<Delivery, Response = Outcome, Error = Infallible, Future = Gate> + Clone> {
    let model = Arc::new(Mutex::new(Model::default()));
    let calls = Arc::clone(&model);
    let service = tower::service_fn(move |delivery: Delivery| {
        let id = delivery.position().offset;
        calls.lock().unwrap().start(id);
        Gate {
            id,
            model: Arc::clone(&calls),
            polled: false,
        }
    });
    Subject {
        worker: worker(service),
        model,
        streams: (0..PARTITIONS as u32).map(stream).collect(),
        ownerships: [1; PARTITIONS],
        parked: [0; PARTITIONS],
        stopping: [false; PARTITIONS],
        reports: Reports::default(),
        next: 0,
    }
}

impl<S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone> Subject<S> {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    fn item(&self, id: u64, settles: Settles) -> Item {
        let told = &self.model().messages[&id];
        let mut message = Message::new("payload");
        message.key = (told.key != 0).then(|| vec![told.key].into());
        Item {
            stream: Arc::clone(&self.streams[told.partition]),
            ticket: Ticket {
                partition: told.partition as u32,
                ownership: self.ownerships[told.partition],
                settles,
                offset: id,
                size: 8,
            },
            record: Record {
                offset: id,
                receipt: 0,
                appended_at: Timestamp(0),
                message,
            },
            condemned: None,
        }
    }

    fn apply(&mut self, op: Op) {
        let cx = &mut Context::from_waker(Waker::noop());
        let pick = |from: Vec<u64>, by: usize| (!from.is_empty()).then(|| from[by % from.len()]);
        match op {
            Op::Offer(partition, key, end) => self.offer(cx, partition, key, end),
            Op::Finish(by, end) => {
                let running = self.model().in_state(State::Running);
                if let Some(id) = pick(running, by) {
                    self.model().ends.insert(id, end);
                    let waker = self.model().wakers[&id].clone();
                    waker.wake();
                }
            }
            Op::Due(by) => {
                let away = self.model().in_state(State::Away);
                let Some(id) = pick(away, by) else { return };
                let item = self.item(id, Settles::Tier { delay_ms: 5_000 });
                self.model().set(id, State::Due);
                self.worker.offer_head(cx, item, &mut self.reports);
            }
            Op::Stop(partition) => self.stop(partition),
            Op::Abandon(partition) => self.abandon(partition),
            Op::Poll => {
                self.worker.poll(cx, &mut self.reports);
                self.hear();
                self.judge();
            }
        }
        self.hear();
    }

    fn offer(&mut self, cx: &mut Context<'_>, partition: usize, key: u8, end: Option<End>) {
        if self.model().stopped[partition] {
            return;
        }
        let id = self.next;
        self.next += 1;
        let told = Told {
            partition,
            key,
            state: State::Waiting,
        };
        self.model().messages.insert(id, told);
        if let Some(end) = end {
            self.model().ends.insert(id, end);
        }
        // As the pump does it: at once if nothing stands in the way, else with a ticket.
        let settles = Settles::Source(Tracker::new(0).begin(0));
        let mut item = self.item(id, settles);
        let called = self.worker.try_at_once(cx, &item.stream, &mut item.record);
        match called {
            None => {
                let record = &mut item.record;
                let (stream, ticket) = (&item.stream, &item.ticket);
                self.worker
                    .offer(cx, stream, record, ticket, None, &mut self.reports);
            }
            Some(called) => match called.poll {
                Poll::Ready(outcome) => self.reports.finished(&item.ticket, outcome),
                Poll::Pending => self.worker.keep_running(called, item.ticket),
            },
        }
    }

    fn stop(&mut self, partition: usize) {
        if self.model().stopped[partition] {
            return;
        }
        {
            let mut model = self.model();
            model.stopped[partition] = true;
            for (_, told) in model.messages.iter_mut() {
                if told.partition == partition && told.state != State::Running {
                    told.state = State::Gone;
                }
            }
        }
        self.stopping[partition] = true;
        let ownership = self.ownerships[partition];
        self.worker
            .stop_partition(partition as u32, ownership, &mut self.reports);
    }

    fn abandon(&mut self, partition: usize) {
        if !self.stopping[partition] {
            return;
        }
        for told in self.model().messages.values_mut() {
            if told.partition == partition {
                told.state = State::Gone;
            }
        }
        self.worker
            .abandon_partition(partition as u32, &mut self.reports);
    }

    /// Takes the reports as the pump would.
    fn hear(&mut self) {
        let reports = std::mem::take(&mut self.reports);
        for handled in reports.handled {
            assert_eq!(
                handled.ownership,
                self.ownerships[handled.partition as usize]
            );
        }
        for report in reports.others {
            match report {
                Report::Finished(ticket, _) => {
                    assert!(self.model().unreported.remove(&ticket.offset), "{ticket:?}");
                }
                Report::Parked {
                    partition,
                    messages,
                    bytes,
                    ..
                } => {
                    self.parked[partition as usize] += messages;
                    assert_eq!(bytes, messages * 8);
                }
                Report::Drained {
                    partition,
                    ownership,
                } => self.drained(partition as usize, ownership),
                Report::InHand(..) => unreachable!("nobody looks"),
            }
        }
        // What was handled is reported without its offset: all that is left unreported must be of that kind.
        let model = &mut *self.model.lock().unwrap();
        let messages = &model.messages;
        model
            .unreported
            .retain(|id| messages[id].state != State::Gone);
        assert_eq!(model.unreported, BTreeSet::new());
        for partition in 0..PARTITIONS {
            if !model.stopped[partition] {
                assert_eq!(
                    self.parked[partition],
                    model.parked(partition),
                    "{model:#?}"
                );
            }
        }
    }

    /// Drained: nothing of it runs. It comes back under another ownership.
    fn drained(&mut self, partition: usize, ownership: u32) {
        assert!(std::mem::take(&mut self.stopping[partition]));
        assert_eq!(ownership, self.ownerships[partition]);
        assert_eq!(self.model().running_in(partition), 0);
        let mut model = self.model.lock().unwrap();
        for told in model.messages.values_mut() {
            if told.partition == partition {
                told.state = State::Gone;
            }
        }
        model.stopped[partition] = false;
        self.ownerships[partition] += 1;
        self.parked[partition] = 0;
    }

    /// After a poll nothing that may run waits, unless for a permit, and permits are held by what runs.
    fn judge(&self) {
        let model = self.model();
        let running = model.in_state(State::Running).len();
        assert_eq!(self.worker.permits.used(), running);
        if running < LIMIT {
            for id in model.messages.keys() {
                assert!(!model.may_start(*id), "{id} could run: {model:#?}");
            }
        }
        for (partition, stopping) in self.stopping.iter().enumerate() {
            assert!(!stopping || model.running_in(partition) > 0, "drained");
        }
        let in_hand = |told: &Told| told.key != 0 && told.state != State::Gone;
        assert_eq!(
            self.worker.lanes.no_keys(),
            !model.messages.values().any(in_hand),
            "{model:#?}"
        );
    }
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        6 => Just(End::Handled),
        3 => Just(End::Away),
        1 => Just(End::Interrupted),
        2 => Just(End::PutBack),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let partition = 0..PARTITIONS;
    prop_oneof![
        8 => (partition.clone(), 0u8..4, prop::option::weighted(0.4, end()))
            .prop_map(|(partition, key, end)| Op::Offer(partition, key, end)),
        5 => (any::<usize>(), end()).prop_map(|(by, end)| Op::Finish(by, end)),
        3 => any::<usize>().prop_map(Op::Due),
        1 => partition.clone().prop_map(Op::Stop),
        1 => partition.prop_map(Op::Abandon),
        5 => Just(Op::Poll),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn nothing_starts_out_of_turn_and_nothing_is_left_waiting(ops in prop::collection::vec(op(), 1..120)) {
        let mut subject = subject();
        for op in ops {
            subject.apply(op);
        }
        // To the end: everything that runs ends, every head comes back, until nothing is in hand.
        for _ in 0..200 {
            subject.apply(Op::Poll);
            subject.apply(Op::Due(0));
            subject.apply(Op::Finish(0, End::Handled));
        }
        for partition in 0..PARTITIONS {
            subject.apply(Op::Stop(partition));
        }
        subject.apply(Op::Poll);
        prop_assert!(subject.worker.lanes.no_keys());
        prop_assert_eq!(subject.worker.permits.used(), 0);
    }
}
