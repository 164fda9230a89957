//! A worker with a handler of batches, against a naive model.
//!
//! The batches are the real ones ([`BatchLayer`]); calls end when the test says so, as a whole or in part. Each call is judged
//! at the moment it begins: whatever is ahead of one of its messages, by key, must have ended well or be ahead of it in
//! the same call.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::MutexGuard;
use std::time::Duration;

use proptest::prelude::*;
use tower::util::{BoxCloneService, ServiceExt};
use tower_layer::Layer;

use super::*;
use crate::handler::{Answer, Call, ErrorClasses, HandlerError, HandlerResult, Returned};
use crate::middleware::batch::{BatchLayer, BatchOrder, BatchParts};
use crate::middleware::{Conclude, Failed};
use crate::progress::Seq;
use crate::runtime::reports::Report;

const PARTITIONS: usize = 2;
const SIZE: usize = 4;
const CALLS: usize = 2;
const PERMITS: usize = 6;
const LINGER: Duration = Duration::from_millis(10);

/// How a call ends; a number picks one of its messages.
#[derive(Clone, Copy, Debug)]
enum Decision {
    Good,
    /// It fails as a whole.
    Spoiled,
    Transient(usize),
    Permanent(usize),
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Offer(usize, u8),
    End(usize, Decision),
    Due(usize),
    Stop(usize),
    Abandon(usize),
    Poll,
    Linger,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Due,
    /// In this call.
    Called(u64),
    /// A call ended well for it, or for good.
    Answered,
    Away,
    /// Its end was reported.
    Done,
    /// Dropped with its partition.
    Gone,
}

#[derive(Debug)]
struct Told {
    partition: usize,
    key: u8,
    state: State,
    /// It was in a call.
    called: bool,
}

/// A running call: its messages, how it is to end, and who is to be woken then.
type Running = (Vec<u64>, Option<Decision>, Option<Waker>);

#[derive(Debug, Default)]
struct Model {
    /// What is behind a message that is away waits for it.
    keep: bool,
    messages: BTreeMap<u64, Told>,
    stopped: [bool; PARTITIONS],
    calls: BTreeMap<u64, Running>,
    next_call: u64,
}

impl Model {
    fn in_state(&self, state: State) -> Vec<u64> {
        let of_state = |(id, told): (&u64, &Told)| (told.state == state).then_some(*id);
        self.messages.iter().filter_map(of_state).collect()
    }

    fn set(&mut self, id: u64, state: State) {
        let told = self.messages.get_mut(&id).expect("it was offered");
        if told.state != State::Gone {
            told.state = state;
        }
    }

    fn same_lane(&self, one: u64, other: u64) -> bool {
        let (one, other) = (&self.messages[&one], &self.messages[&other]);
        one.key != 0 && (one.partition, one.key) == (other.partition, other.key)
    }

    fn begin(&mut self, ids: Vec<u64>) -> u64 {
        assert!(!ids.is_empty() && ids.len() <= SIZE, "{ids:?}");
        assert!(self.calls.len() < CALLS, "more calls at once than allowed");
        for (place, id) in ids.iter().enumerate() {
            let told = &self.messages[id];
            assert!(
                !self.stopped[told.partition],
                "{id} is of a partition that was given up"
            );
            assert!(
                matches!(told.state, State::Waiting | State::Due),
                "{id} is {:?}: {self:#?}",
                told.state
            );
            for (other, ahead) in &self.messages {
                if other == id || !self.same_lane(*id, *other) {
                    continue;
                }
                let here = ids.iter().position(|one| one == other);
                match ahead.state {
                    State::Called(_) => panic!("{other} runs beside {id}: {self:#?}"),
                    // It may have failed.
                    _ if !self.keep && ahead.called => {}
                    State::Waiting | State::Due | State::Away if other < id => assert!(
                        here.is_some_and(|here| here < place),
                        "{id} begins before {other}: {ids:?} {self:#?}"
                    ),
                    _ => {}
                }
            }
        }
        let failed_before = |id: &u64| self.messages[id].state == State::Due;
        assert!(
            ids.len() == 1 || !ids.iter().any(failed_before),
            "{ids:?}: {self:#?}"
        );
        let call = self.next_call;
        self.next_call += 1;
        for id in &ids {
            self.set(*id, State::Called(call));
            self.messages.get_mut(id).expect("it was offered").called = true;
        }
        self.calls.insert(call, (ids, None, None));
        call
    }

    fn end(&mut self, call: u64, decision: Decision) -> Result<Answer, HandlerError> {
        let (ids, ..) = self.calls.remove(&call).expect("it runs");
        let failed = match decision {
            Decision::Good | Decision::Spoiled => None,
            Decision::Transient(by) | Decision::Permanent(by) => Some(ids[by % ids.len()]),
        };
        let mut results: Vec<HandlerResult> = Vec::new();
        for id in &ids {
            let (state, result) = match decision {
                Decision::Spoiled => (State::Waiting, Ok(Returned::default())),
                Decision::Transient(_) if failed == Some(*id) => {
                    (State::Waiting, Err(HandlerError::transient("transient")))
                }
                Decision::Permanent(_) if failed == Some(*id) => {
                    (State::Answered, Err(HandlerError::permanent("permanent")))
                }
                Decision::Transient(_)
                    if self.keep && failed < Some(*id) && self.same_lane(*id, failed.unwrap()) =>
                {
                    (State::Waiting, Ok(Returned::default()))
                }
                _ => (State::Answered, Ok(Returned::default())),
            };
            self.set(*id, state);
            results.push(result);
        }
        match decision {
            Decision::Spoiled => Err(HandlerError::transient("spoiled")),
            _ => Ok(Answer::each(results)),
        }
    }
}

/// A call that ends when the model says so; dropped before, its messages wait again.
struct Calling {
    call: u64,
    model: Arc<Mutex<Model>>,
}

impl Future for Calling {
    type Output = Result<Answer, HandlerError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut model = self.model.lock().unwrap();
        let (_, decision, waker) = model.calls.get_mut(&self.call).expect("it runs");
        match *decision {
            Some(decision) => Poll::Ready(model.end(self.call, decision)),
            None => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        let mut model = self
            .model
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((ids, ..)) = model.calls.remove(&self.call) {
            for id in ids {
                model.set(id, State::Waiting);
            }
        }
    }
}

type Stack = BoxCloneService<Delivery, Outcome, Infallible>;

/// The rules of a route in short: what failed for good is a dead letter, what may pass goes away.
fn conclude(id: u64, result: HandlerResult) -> Outcome {
    let result = result.map(|returned| returned.settlement);
    match result.conclude(1) {
        Ok(outcome) => outcome,
        Err(Failed { error, .. }) if error.is_transient() => End::Away.outcome(id),
        Err(_) => Outcome::Settled(Ended::DeadLettered),
    }
}

struct Subject {
    worker: Worker<Stack>,
    model: Arc<Mutex<Model>>,
    streams: Vec<Arc<Stream>>,
    ownerships: [u32; PARTITIONS],
    stopping: [bool; PARTITIONS],
    tracker: Tracker,
    seqs: Vec<(Seq, u64)>,
    reports: Reports,
    next: u64,
}

fn subject(keep: bool) -> Subject {
    let model = Arc::new(Mutex::new(Model {
        keep,
        ..Model::default()
    }));
    let calls = Arc::clone(&model);
    let handler = tower::service_fn(move |call: Call| {
        let ids = call.deliveries().iter();
        let ids = ids.map(|delivery| delivery.position().offset).collect();
        Calling {
            call: calls.lock().unwrap().begin(ids),
            model: Arc::clone(&calls),
        }
    });
    let batches = BatchLayer::new(BatchParts {
        size: SIZE,
        linger: LINGER,
        concurrency: CALLS,
        order: BatchOrder::Key,
        keep,
        classes: ErrorClasses::default(),
    });
    let batcher = batches.layer(handler);
    let stack = tower::service_fn(move |delivery: Delivery| {
        let id = delivery.position().offset;
        let call = batcher.clone().oneshot(delivery);
        async move { Ok(conclude(id, call.await)) }
    });
    let policy = LanePolicy {
        ordering: Ordering::Key,
        keep,
        hash_seed: 1,
        batch: Some(SIZE),
    };
    let permits = Arc::new(Permits::new(PERMITS));
    Subject {
        worker: Worker::new(Stack::new(stack), policy, permits, PERMITS),
        model,
        streams: (0..PARTITIONS as u32).map(stream).collect(),
        ownerships: [1; PARTITIONS],
        stopping: [false; PARTITIONS],
        tracker: Tracker::new(0),
        seqs: Vec::new(),
        reports: Reports::default(),
        next: 0,
    }
}

impl Subject {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    fn item(&self, id: u64, settles: Settles) -> Item {
        let told = &self.model().messages[&id];
        let mut message = Message::new("payload");
        message.key = (told.key != 0).then(|| vec![told.key].into());
        let (record, mut ticket) = offered(id, message);
        ticket.partition = told.partition as u32;
        ticket.ownership = self.ownerships[told.partition];
        ticket.settles = settles;
        Item {
            stream: Arc::clone(&self.streams[told.partition]),
            record,
            ticket,
            condemned: None,
        }
    }

    async fn apply(&mut self, op: Op) {
        let pick = |from: &[u64], by: usize| (!from.is_empty()).then(|| from[by % from.len()]);
        match op {
            Op::Offer(partition, key) => self.offer(partition, key).await,
            Op::End(by, decision) => {
                let mut model = self.model();
                let running: Vec<u64> = model.calls.keys().copied().collect();
                if let Some(call) = pick(&running, by)
                    && let Some((_, told, waker)) = model.calls.get_mut(&call)
                {
                    *told = Some(decision);
                    if let Some(waker) = waker.take() {
                        waker.wake();
                    }
                }
            }
            Op::Due(by) => {
                let away = self.model().in_state(State::Away);
                let Some(id) = pick(&away, by) else { return };
                let item = self.item(id, Settles::Tier { delay_ms: 5_000 });
                self.model().set(id, State::Due);
                let mut item = Some(item);
                poll_fn(|cx| {
                    let item = item.take().expect("polled once");
                    self.worker.offer_head(cx, item, &mut self.reports);
                    Poll::Ready(())
                })
                .await;
            }
            Op::Stop(partition) => self.stop(partition),
            Op::Abandon(partition) => self.abandon(partition),
            Op::Poll => self.poll().await,
            Op::Linger => {
                tokio::time::sleep(LINGER).await;
                self.poll().await;
            }
        }
        self.hear();
    }

    async fn poll(&mut self) {
        poll_fn(|cx| {
            self.worker.poll(cx, &mut self.reports);
            Poll::Ready(())
        })
        .await;
    }

    async fn offer(&mut self, partition: usize, key: u8) {
        if self.model().stopped[partition] {
            return;
        }
        let id = self.next;
        self.next += 1;
        let state = State::Waiting;
        self.model().messages.insert(
            id,
            Told {
                partition,
                key,
                state,
                called: false,
            },
        );
        let seq = self.tracker.begin(id);
        self.seqs.push((seq, id));
        let mut item = self.item(id, Settles::Source(seq));
        poll_fn(|cx| {
            let (stream, ticket) = (&item.stream, &item.ticket);
            assert!(
                self.worker
                    .try_at_once(cx, stream, &mut item.record)
                    .is_none()
            );
            let reports = &mut self.reports;
            self.worker
                .offer(cx, stream, &mut item.record, ticket, None, reports);
            Poll::Ready(())
        })
        .await;
    }

    fn stop(&mut self, partition: usize) {
        if self.model().stopped[partition] {
            return;
        }
        {
            let mut model = self.model();
            model.stopped[partition] = true;
            for told in model.messages.values_mut() {
                let waits = matches!(told.state, State::Waiting | State::Due | State::Away);
                if told.partition == partition && waits {
                    told.state = State::Gone;
                }
            }
        }
        self.streams[partition].stop();
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
            if told.partition == partition && told.state != State::Done {
                told.state = State::Gone;
            }
        }
        self.worker
            .abandon_partition(partition as u32, &mut self.reports);
    }

    fn hear(&mut self) {
        let reports = std::mem::take(&mut self.reports);
        for handled in reports.handled {
            let of_seq = |(seq, _): &&(Seq, u64)| *seq == handled.seq;
            let (_, id) = *self.seqs.iter().find(of_seq).expect("it was offered");
            self.ended(id, State::Done);
        }
        for report in reports.others {
            match report {
                Report::Finished(ticket, Outcome::Away(_)) => self.away(ticket.offset),
                Report::Finished(ticket, _) => self.ended(ticket.offset, State::Done),
                Report::Parked { .. } => {}
                Report::Drained {
                    partition,
                    ownership,
                } => self.drained(partition as usize, ownership),
                Report::InHand(..) => unreachable!("nobody looks"),
            }
        }
    }

    fn ended(&mut self, id: u64, state: State) {
        let mut model = self.model();
        let before = model.messages[&id].state;
        assert!(
            matches!(before, State::Answered | State::Gone),
            "{id} was {before:?}"
        );
        model.set(id, state);
    }

    fn away(&mut self, id: u64) {
        let mut model = self.model();
        let before = model.messages[&id].state;
        assert!(
            matches!(before, State::Waiting | State::Gone),
            "{id} was {before:?}"
        );
        // Nobody waits for a message without a key, or in a partition that is being given up.
        let told = &model.messages[&id];
        let alone = told.key == 0 || model.stopped[told.partition];
        model.set(id, if alone { State::Done } else { State::Away });
    }

    fn drained(&mut self, partition: usize, ownership: u32) {
        assert!(std::mem::take(&mut self.stopping[partition]));
        assert_eq!(ownership, self.ownerships[partition]);
        let mut model = self.model.lock().unwrap();
        for told in model.messages.values_mut() {
            if told.partition == partition {
                assert!(!matches!(told.state, State::Called(_)), "it runs still");
                told.state = State::Gone;
            }
        }
        model.stopped[partition] = false;
        self.ownerships[partition] += 1;
        self.streams[partition] = super::stream(partition as u32);
    }
}

fn decision() -> impl Strategy<Value = Decision> {
    prop_oneof![
        4 => Just(Decision::Good),
        2 => Just(Decision::Spoiled),
        2 => any::<usize>().prop_map(Decision::Transient),
        1 => any::<usize>().prop_map(Decision::Permanent),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let partition = 0..PARTITIONS;
    prop_oneof![
        10 => (partition.clone(), 0u8..4).prop_map(|(partition, key)| Op::Offer(partition, key)),
        5 => (any::<usize>(), decision()).prop_map(|(by, decision)| Op::End(by, decision)),
        2 => any::<usize>().prop_map(Op::Due),
        1 => partition.clone().prop_map(Op::Stop),
        1 => partition.prop_map(Op::Abandon),
        5 => Just(Op::Poll),
        3 => Just(Op::Linger),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn batches_keep_the_order_of_each_key_and_lose_nothing(keep: bool, ops in prop::collection::vec(op(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut subject = subject(keep);
            for op in ops {
                subject.apply(op).await;
            }
            // To the end: every call ends well, every head comes back, until nothing is in hand.
            for _ in 0..200 {
                subject.apply(Op::Linger).await;
                subject.apply(Op::Due(0)).await;
                subject.apply(Op::End(0, Decision::Good)).await;
            }
            {
                let model = subject.model();
                let left = |told: &&Told| !matches!(told.state, State::Done | State::Gone);
                assert_eq!(model.messages.values().filter(left).count(), 0, "{model:#?}");
                assert!(model.calls.is_empty());
            }
            assert!(subject.worker.lanes.no_keys());
            assert_eq!(subject.worker.permits.used(), 0);
        });
    }
}
