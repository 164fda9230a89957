//! The records on their way, from when a thread takes what has arrived: in the producer, at a gate of their partition, and in order
//! behind these what there is no room for.
//!
//! A fatal error ends a producer of librdkafka for good: what an idempotent one may still promise is lost with its state at the
//! broker. What it had then comes back as failed or as unknown, and only when all of that is told is another producer made, for
//! whoever publishes next: what is newer never passes what is still undecided. Nothing is sent anew here, since that would be a
//! second copy of what is unknown; whoever published knows whether it may.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use dotmsg_core::backend::{Partitioner, PublishOutcome, PublishRecord};
use dotmsg_core::error::{Error, ErrorKind, Result, Retryability};
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::{Producer, PurgeConfig};

use super::arrivals::{Arrival, Arrivals};
use super::closed;
use super::gates::{Gate, Gates, Numbered};
use super::outgoing::outgoing;
use super::reports::{Client, Delivery, Reports, ended};
use crate::error;
use crate::lock;
use crate::native;
use crate::now;
use crate::partitioner::Asked;
use crate::settings::Batches;

/// How long the thread waits for reports; what ends it, and a fatal error, is looked for as often.
const POLL: Duration = Duration::from_millis(100);

/// What producers are made of, one after the other.
pub(super) struct Making {
    pub(super) config: ClientConfig,
    pub(super) partitioner: Option<Arc<dyn Partitioner>>,
    /// None for transactions, where nothing may wait here: their commit sends what the producer has, and nothing else.
    pub(super) gates: Option<Batches>,
    /// How long a record may wait before the producer has it; from then on librdkafka takes the time. For ever, if none.
    pub(super) patience: Option<Duration>,
    /// A record that is larger has failed.
    pub(super) max_record_bytes: usize,
}

impl Making {
    /// Whether one that met a fatal error is followed by another one. A transaction is not: whoever leads it begins anew.
    fn is_followed(&self) -> bool {
        self.gates.is_some()
    }

    fn producer(&self, reports: &Arc<Reports>) -> Result<Arc<Client>> {
        let partitioner = self.partitioner.clone().map(Asked::new);
        let context = Delivery::new(Arc::clone(reports), partitioner);
        let made: Client = self
            .config
            .create_with_context(context)
            .map_err(|error| error::of_client("open kafka", error))?;
        let producer = Arc::new(made);
        producer.context().belongs_to(&producer);
        Ok(producer)
    }
}

/// The producer and what waits behind it.
pub(super) struct Line {
    making: Making,
    reports: Arc<Reports>,
    arrivals: Arrivals,
    state: Mutex<State>,
    closed: AtomicBool,
}

struct State {
    producer: Arc<Client>,
    /// The producer met a fatal error.
    ended: bool,
    gates: Gates,
    /// What it has no room for.
    backlog: VecDeque<Numbered>,
    /// When those that wait are looked through for such as are late.
    look_at: Instant,
}

impl State {
    /// What waits here.
    fn waiting(&self) -> usize {
        self.backlog.len() + self.gates.held()
    }

    /// Those of them that are late.
    fn take_late(&mut self, is_late: impl Fn(&Numbered) -> bool) -> Vec<Numbered> {
        let mut late = self.gates.take_late(&is_late);
        while self.backlog.front().is_some_and(&is_late) {
            late.extend(self.backlog.pop_front());
        }
        late
    }

    /// All of it, to wait no longer, in order.
    fn take_waiting(&mut self) -> Vec<Numbered> {
        let mut waiting = self.gates.take_all();
        waiting.extend(self.backlog.drain(..));
        waiting
    }
}

impl Line {
    pub(super) fn open(making: Making, reports: Arc<Reports>) -> Result<Self> {
        let gates = match making.gates {
            Some(batches) => Gates::new(batches, making.partitioner.clone()),
            None => Gates::none(),
        };
        let state = State {
            producer: making.producer(&reports)?,
            ended: false,
            gates,
            backlog: VecDeque::new(),
            look_at: now(),
        };
        Ok(Self {
            making,
            reports,
            arrivals: Arrivals::default(),
            state: Mutex::new(state),
            closed: AtomicBool::new(false),
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Takes nothing more; what is on its way still goes.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The producer, as of now.
    pub(super) fn client(&self) -> Arc<Client> {
        Arc::clone(&lock(&self.state).producer)
    }

    /// What waits behind the producer has failed.
    pub(super) fn withdraw(&self) {
        let waiting = lock(&self.state).take_waiting();
        self.fail(waiting, |record| {
            Error::new(ErrorKind::Closed, "publish", "it was withdrawn")
                .with("topic", &record.topic)
        });
    }

    /// What the producer has not reported.
    pub(super) fn in_producer(&self) -> i32 {
        self.client().in_flight_count()
    }

    /// Whether the partitions of a topic have gates.
    #[cfg(test)]
    pub(super) fn has_gates_of(&self, topic: &str) -> bool {
        lock(&self.state).gates.knows(topic)
    }

    /// What waits here.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        lock(&self.state).waiting()
    }

    /// Sends records behind whatever came before. Those of a transaction are in the producer when this returns: its commit sends what
    /// the producer has, and nothing else.
    pub(super) fn send(&self, arrival: Arrival) {
        self.reports.come(arrival.records.len());
        if self.carries() {
            if let Some(late) = self.arrivals.put(arrival) {
                self.refuse(&late);
            }
        } else if self.arrivals.is_over() {
            self.refuse(&arrival);
        } else {
            let mut state = lock(&self.state);
            self.take(&mut state, arrival);
            if state.ended {
                self.fail_for_good(&mut state);
            }
        }
    }

    /// Nobody hears reports any more.
    fn refuse(&self, late: &Arrival) {
        for number in self.reports.expect(&late.call, late.records.len()) {
            let refused = PublishOutcome::Failed(closed());
            self.reports.settle(number, refused);
        }
    }

    /// Whether what arrives waits for a thread.
    pub(super) fn carries(&self) -> bool {
        self.making.is_followed()
    }

    /// Takes what arrives, until nothing more will.
    pub(super) fn carry(self: &Arc<Self>) {
        let mut taken = Vec::new();
        while self.arrivals.take(&mut taken) {
            for arrival in taken.drain(..) {
                self.take(&mut lock(&self.state), arrival);
            }
        }
    }

    /// Sends what has arrived, as far as it may go now; the rest waits.
    fn take(&self, state: &mut State, Arrival { records, call }: Arrival) {
        let now = now();
        let numbers = self.reports.expect(&call, records.len());
        for (record, number) in records.into_iter().zip(numbers) {
            if let Some(error) = self.too_large(&record) {
                self.reports.settle(number, PublishOutcome::Failed(error));
                continue;
            }
            let numbered = Numbered {
                record,
                number,
                since: now,
            };
            let waits = state.ended || !state.backlog.is_empty();
            let left = match waits {
                true => Some(numbered),
                false => self.offer(state, numbered, now),
            };
            state.backlog.extend(left);
        }
    }

    fn too_large(&self, record: &PublishRecord) -> Option<Error> {
        let (bytes, limit) = (record.message.size(), self.making.max_record_bytes);
        (bytes > limit).then(|| {
            Error::new(ErrorKind::TooLarge, "publish", "the record is larger than is allowed")
                .with("topic", &record.topic)
                .with("bytes", bytes)
                .with("limit", limit)
                .remedy("Raise \"message.max.bytes\" in [backend.<name>.kafka], on the topic and on the broker")
        })
    }

    /// Hears reports until it is closed and nothing is on its way.
    pub(super) fn hear(self: &Arc<Self>) {
        while !self.is_over() {
            let producer = self.client();
            producer.poll(POLL);
            self.go_on(&producer);
        }
    }

    /// Whether it is closed and nothing is on its way; whatever comes later is refused.
    fn is_over(&self) -> bool {
        if !self.is_closed() || self.reports.pending() > 0 {
            return false;
        }
        // One more may have come before nothing can.
        self.arrivals.end_if(|| self.reports.pending() == 0)
    }

    fn go_on(self: &Arc<Self>, producer: &Client) {
        let mut state = lock(&self.state);
        self.fail_late(&mut state);
        state.ended |= producer.client().fatal_error().is_some();
        if !state.ended {
            self.let_go(&mut state);
            self.drain(&mut state);
            self.ask_for_partitions(&mut state);
            return;
        }
        if !self.making.is_followed() {
            self.fail_for_good(&mut state);
        }
        let undecided = self.reports.pending() > state.waiting();
        if undecided {
            drop(state);
            // Also what comes back to its queue when a connection ends: it would lie there until it times out.
            producer.purge(PurgeConfig::default().queue());
        } else if state.waiting() > 0 && self.making.is_followed() {
            self.replace(&mut state);
        }
    }

    /// Another producer for what waits; if there can be none, that has failed.
    fn replace(&self, state: &mut State) {
        match self.making.producer(&self.reports) {
            Ok(producer) => {
                state.producer = producer;
                state.ended = false;
                self.let_go(state);
                self.drain(state);
            }
            Err(error) => self.fail(state.take_waiting(), |record| no_producer(record, &error)),
        }
    }

    /// What waits behind a producer that nobody follows has failed with it.
    fn fail_for_good(&self, state: &mut State) {
        let fatal = state.producer.client().fatal_error();
        let reason = fatal.map(|(_, reason)| reason).unwrap_or_default();
        self.fail(state.take_waiting(), |record| ended(&record.topic, &reason));
    }

    /// What has waited here for too long has failed, as it would have in the producer.
    fn fail_late(&self, state: &mut State) {
        let Some(patience) = self.making.patience else {
            return;
        };
        let now = now();
        if now < state.look_at {
            return;
        }
        state.look_at = now + POLL;
        if state.waiting() > 0 {
            let late = state.take_late(|one| now >= one.since + patience);
            self.fail(late, |record| {
                error::of_code("publish", Code::MessageTimedOut).with("topic", &record.topic)
            });
        }
    }

    /// These never were in the producer, and do not go there.
    fn fail(&self, waiting: Vec<Numbered>, error: impl Fn(&PublishRecord) -> Error) {
        for one in waiting {
            let failed = PublishOutcome::Failed(error(&one.record));
            self.reports.settle(one.number, failed);
        }
    }

    /// Sends what waits, as far as there is room.
    fn drain(&self, state: &mut State) {
        let now = now();
        while let Some(next) = state.backlog.pop_front() {
            if let Some(left) = self.offer(state, next, now) {
                state.backlog.push_front(left);
                return;
            }
        }
    }

    /// Nothing that went through a gate is on its way: there is room, and what waits there may go.
    pub(super) fn drained(&self, gate: Gate) {
        let mut state = lock(&self.state);
        // More may have gone meanwhile.
        if self.reports.is_drained(gate) {
            state.gates.all_reported(gate);
        }
        if !state.ended {
            self.let_go(&mut state);
            self.drain(&mut state);
        }
    }

    /// Sends what waits at gates where nothing is on its way, as far as there is room.
    fn let_go(&self, state: &mut State) {
        let now = now();
        for gate in state.gates.take_idle() {
            if !self.reports.is_drained(gate) {
                continue;
            }
            while let Some(next) = state.gates.next(gate) {
                if !self.hand_over_through(state, gate, &next, now) {
                    state.gates.put_back(gate, next);
                    break;
                }
            }
        }
    }

    /// Sends a record, or lets it wait at its gate; gives it back when it has to wait for room, or for another producer.
    fn offer(&self, state: &mut State, one: Numbered, now: Instant) -> Option<Numbered> {
        let has_gone = match state.gates.of(&one.record, now) {
            None => self.hand_over(state, &one) != Sent::NoRoom,
            Some(gate) if state.gates.is_open(gate, &one.record, now) => {
                self.hand_over_through(state, gate, &one, now)
            }
            Some(gate) => {
                state.gates.hold(gate, one);
                return None;
            }
        };
        (!has_gone).then_some(one)
    }

    /// False when it has to wait.
    fn hand_over_through(
        &self,
        state: &mut State,
        gate: Gate,
        one: &Numbered,
        now: Instant,
    ) -> bool {
        // Before it goes: its report may be there when it has.
        self.reports.goes_through(one.number, gate);
        let sent = self.hand_over(state, one);
        match sent {
            Sent::Gone => state.gates.gave(gate, &one.record, now),
            Sent::Failed => {}
            Sent::NoRoom => {
                if let Some(gate) = self.reports.has_not_gone(one.number) {
                    state.gates.all_reported(gate);
                }
            }
        }
        sent != Sent::NoRoom
    }

    /// Finds out how many partitions a topic has, on a thread that may wait for it.
    fn ask_for_partitions(self: &Arc<Self>, state: &mut State) {
        let Some(topic) = state.gates.next_unknown(now()) else {
            return;
        };
        let (line, producer) = (Arc::clone(self), Arc::clone(&state.producer));
        let name = Arc::clone(&topic);
        let asked = thread::Builder::new()
            .name("kafka partitions".to_owned())
            .spawn(move || {
                let found = producer.client().fetch_metadata(Some(&name), native::CALL);
                let topics = found.as_ref().map_or(&[][..], |found| found.topics());
                let partitions = topics.first().map(|topic| topic.partitions().len());
                lock(&line.state).gates.learn(&name, partitions, now());
            });
        if let Err(error) = asked {
            tracing::debug!(%error, "no thread to look up the partitions of a topic");
            state.gates.learn(&topic, None, now());
        }
    }

    /// Hands one record to librdkafka.
    fn hand_over(&self, state: &mut State, one: &Numbered) -> Sent {
        let (record, number) = (&one.record, one.number);
        let Err((error, _)) = state.producer.send(outgoing(record, number)) else {
            return Sent::Gone;
        };
        if error.rdkafka_error_code() == Some(Code::QueueFull) {
            return Sent::NoRoom;
        }
        if state.producer.client().fatal_error().is_some() {
            state.ended = true;
            return Sent::NoRoom;
        }
        let described =
            state
                .producer
                .context()
                .described(&error, &record.topic, record.partition.is_none());
        let drained = self
            .reports
            .settle(number, PublishOutcome::Failed(described));
        if let Some(gate) = drained {
            state.gates.all_reported(gate);
        }
        Sent::Failed
    }
}

/// What became of a record that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Gone,
    /// That is told already.
    Failed,
    /// It has to wait: for room, or for another producer.
    NoRoom,
}

fn no_producer(record: &PublishRecord, error: &Error) -> Error {
    let message = "the producer met a fatal error, and none can be made in its place";
    Error::new(ErrorKind::Unexpected, "publish", message)
        .retryable(Retryability::Transient)
        .with("topic", &record.topic)
        .with("reason", error)
}
