//! What the handlers of a case were called with, whoever runs them: several apps may write into one list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use dotmsg_core::delivery::Delivery;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::wait::{DEADLINE, within};

/// One call of a handler.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Which app.
    pub(crate) by: usize,
    /// The message's identity.
    pub(crate) id: String,
    /// The message's key; empty for null.
    pub(crate) key: String,
    /// The partition of its origin.
    pub(crate) partition: u32,
    /// The offset of its origin.
    pub(crate) offset: u64,
    /// Which call for this message.
    pub(crate) attempt: u32,
    /// The ownership epoch it ran under.
    pub(crate) epoch: u64,
    pub(crate) began: Instant,
    /// When it returned, and whether it succeeded; none when it did not return.
    pub(crate) ended: Option<(Instant, bool)>,
}

/// All calls so far, in the order of their beginnings. A clone is the same list.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    list: Arc<Mutex<Vec<Call>>>,
    changed: Arc<watch::Sender<()>>,
}

impl Calls {
    pub(crate) fn new() -> Self {
        Self {
            list: Arc::default(),
            changed: Arc::new(watch::Sender::new(())),
        }
    }

    /// Notes that a call begins; gives its number.
    pub(crate) fn begin(&self, by: usize, delivery: &Delivery) -> usize {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let origin = delivery.origin();
        let call = Call {
            by,
            id: text(&delivery.id()),
            key: delivery.key().map(|key| text(key)).unwrap_or_default(),
            partition: origin.partition,
            offset: origin.offset,
            attempt: delivery.attempt(),
            epoch: delivery.epoch(),
            began: Instant::now(),
            ended: None,
        };
        let number = self.with(|list| {
            list.push(call);
            list.len() - 1
        });
        self.changed.send_replace(());
        number
    }

    /// Notes that a call returned.
    pub(crate) fn end(&self, number: usize, succeeded: bool) {
        self.with(|list| list[number].ended = Some((Instant::now(), succeeded)));
        self.changed.send_replace(());
    }

    fn with<T>(&self, look: impl FnOnce(&mut Vec<Call>) -> T) -> T {
        look(&mut self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn all(&self) -> Vec<Call> {
        self.with(|list| list.clone())
    }

    /// How many calls began.
    pub(crate) fn count(&self) -> usize {
        self.with(|list| list.len())
    }

    /// Calls that did not return.
    pub(crate) fn running(&self) -> usize {
        self.with(|list| list.iter().filter(|call| call.ended.is_none()).count())
    }

    /// Takes calls that did not return for returned without success: their app was killed.
    pub(crate) fn forget_running(&self) {
        self.with(|list| {
            for call in list.iter_mut() {
                call.ended.get_or_insert((Instant::now(), false));
            }
        });
    }

    /// The same of one app.
    pub(crate) fn forget_running_of(&self, by: usize) {
        self.with(|list| {
            for call in list.iter_mut().filter(|call| call.by == by) {
                call.ended.get_or_insert((Instant::now(), false));
            }
        });
    }

    /// The identities of messages whose handler succeeded.
    pub(crate) fn succeeded(&self) -> BTreeSet<String> {
        self.with(|list| {
            list.iter()
                .filter(|call| matches!(call.ended, Some((_, true))))
                .map(|call| call.id.clone())
                .collect()
        })
    }

    /// How often each message was handled with success.
    pub(crate) fn successes(&self) -> BTreeMap<String, usize> {
        self.with(|list| {
            let mut counts = BTreeMap::new();
            for call in list.iter() {
                if matches!(call.ended, Some((_, true))) {
                    *counts.entry(call.id.clone()).or_default() += 1;
                }
            }
            counts
        })
    }

    /// The calls for one message.
    pub(crate) fn of(&self, id: &str) -> Vec<Call> {
        self.with(|list| list.iter().filter(|call| call.id == id).cloned().collect())
    }

    /// The identities of the calls of one key, in order.
    pub(crate) fn ids_of_key(&self, key: &str) -> Vec<String> {
        self.with(|list| {
            let of_key = list.iter().filter(|call| call.key == key);
            of_key.map(|call| call.id.clone()).collect()
        })
    }

    /// Waits until the list is as it should be.
    ///
    /// # Panics
    /// When it is not within the deadline; shows the last calls.
    #[track_caller]
    pub(crate) fn until(
        &self,
        what: impl Into<String>,
        mut is: impl FnMut(&[Call]) -> bool,
    ) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        let (what, mut changed) = (what.into(), self.changed.subscribe());
        async move {
            let wait = async {
                while !self.with(|list| is(list)) {
                    // The sender lives as long as `self`.
                    let _ = changed.changed().await;
                }
            };
            if tokio::time::timeout(DEADLINE, wait).await.is_err() {
                let calls = self.all();
                let last: Vec<String> = calls
                    .iter()
                    .rev()
                    .take(30)
                    .map(|call| {
                        format!(
                            "\n  {} attempt {} by {} at {}/{}: {:?}",
                            call.id,
                            call.attempt,
                            call.by,
                            call.partition,
                            call.offset,
                            call.ended.map(|(_, succeeded)| succeeded)
                        )
                    })
                    .collect();
                panic!(
                    "{at}: not within {DEADLINE:?}: {what}; {} calls, the last first:{}",
                    calls.len(),
                    last.concat()
                );
            }
        }
    }

    /// Waits until so many different messages were handled with success.
    #[track_caller]
    pub(crate) fn until_succeeded(&self, messages: usize) -> impl Future<Output = ()> {
        let what = format!("{messages} messages are handled");
        let mut done = BTreeSet::new();
        let mut seen = 0;
        // Only what is new is looked at: calls end about in the order in which they begin.
        self.until(what, move |list| {
            while let Some(call) = list.get(seen) {
                match call.ended {
                    Some((_, succeeded)) => {
                        if succeeded {
                            done.insert(call.id.clone());
                        }
                        seen += 1;
                    }
                    None => break,
                }
            }
            let rest = list[seen..]
                .iter()
                .filter(|call| matches!(call.ended, Some((_, true))))
                .filter(|call| !done.contains(&call.id))
                .map(|call| &call.id)
                .collect::<BTreeSet<_>>();
            done.len() + rest.len() >= messages
        })
    }

    /// Waits for so many calls.
    #[track_caller]
    pub(crate) fn until_called(&self, times: usize) -> impl Future<Output = ()> {
        self.until(format!("{times} calls"), move |list| list.len() >= times)
    }
}

/// # Panics
/// When two calls of one key overlapped, or when under one epoch a message was handled with success after a later one of its
/// key had been called.
#[track_caller]
pub(crate) fn assert_key_order(calls: &[Call]) {
    let mut by_key: BTreeMap<(u64, u32, &str), Vec<&Call>> = BTreeMap::new();
    for call in calls.iter().filter(|call| !call.key.is_empty()) {
        let lane = (call.epoch, call.partition, &*call.key);
        by_key.entry(lane).or_default().push(call);
    }
    for ((epoch, _, key), calls) in by_key {
        for pair in calls.windows(2) {
            let (first, second) = (pair[0], pair[1]);
            assert!(
                first.offset <= second.offset,
                "key {key}, epoch {epoch}: {} after {}",
                second.id,
                first.id
            );
            let over = first.ended.is_some_and(|(ended, _)| ended <= second.began);
            assert!(
                over,
                "key {key}, epoch {epoch}: {} began while {} ran",
                second.id, first.id
            );
        }
    }
}

/// Waits until nothing of the calls runs any more.
pub(crate) async fn at_rest(calls: &Calls) {
    within(
        "no handler runs",
        calls.until("no handler runs", |list| {
            list.iter().all(|call| call.ended.is_some())
        }),
    )
    .await;
}
