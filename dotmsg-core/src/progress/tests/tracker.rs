//! The tracker against a map of what is in hand: random orders, gaps, skips, offsets delivered again, rings that grow long.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::progress::{Seq, Tracker};

/// A map from sequence number to offset; the watermark is looked for anew after each step.
struct Model {
    outstanding: BTreeMap<Seq, u64>,
    watermark: u64,
    end: u64,
}

impl Model {
    fn new(watermark: u64) -> Self {
        Self {
            outstanding: BTreeMap::new(),
            watermark,
            end: watermark,
        }
    }

    fn begin(&mut self, seq: Seq, offset: u64) {
        let known = self.outstanding.insert(seq, offset);
        assert_eq!(known, None, "a sequence number is given once");
        self.end = self.end.max(offset + 1);
        self.settle();
    }

    fn skip(&mut self, offset: u64) {
        self.end = self.end.max(offset + 1);
        self.settle();
    }

    fn complete(&mut self, seq: Seq) -> bool {
        let known = self.outstanding.remove(&seq).is_some();
        self.settle();
        known
    }

    fn settle(&mut self) {
        self.watermark = self.unsettled().first().copied().unwrap_or(self.end);
    }

    fn unsettled(&self) -> Vec<u64> {
        let above = self
            .outstanding
            .values()
            .copied()
            .filter(|o| *o >= self.watermark);
        let mut offsets: Vec<u64> = above.collect();
        offsets.sort_unstable();
        offsets.dedup();
        offsets
    }
}

#[derive(Debug, Clone)]
enum Step {
    Begin {
        gap: u64,
    },
    /// A number is asked for first; then it ends at once, or is begun.
    Peek {
        gap: u64,
        passes: bool,
    },
    BeginAgain {
        back: u64,
    },
    Skip {
        gap: u64,
    },
    /// The nth oldest outstanding one, counted round.
    Complete {
        nth: usize,
    },
    /// One that was given before, complete or not.
    CompleteAny {
        nth: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let gap = || prop_oneof![4 => Just(0u64), 1 => 1..5u64];
    let step = prop_oneof![
        10 => gap().prop_map(|gap| Step::Begin { gap }),
        5 => (gap(), any::<bool>()).prop_map(|(gap, passes)| Step::Peek { gap, passes }),
        1 => (1..12u64).prop_map(|back| Step::BeginAgain { back }),
        2 => gap().prop_map(|gap| Step::Skip { gap }),
        3 => (0..3usize).prop_map(|nth| Step::Complete { nth }),
        6 => any::<usize>().prop_map(|nth| Step::Complete { nth }),
        1 => any::<usize>().prop_map(|nth| Step::CompleteAny { nth }),
    ];
    prop::collection::vec(step, 0..200)
}

fn compare(tracker: &Tracker, model: &Model) {
    assert_eq!(tracker.watermark(), model.watermark);
    assert_eq!(tracker.end(), model.end);
    assert_eq!(tracker.outstanding(), model.outstanding.len());
    assert_eq!(tracker.unsettled().collect::<Vec<_>>(), model.unsettled());
    let map = tracker.resume_map();
    assert_eq!((map.watermark(), map.end()), (model.watermark, model.end));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn agrees_with_a_map_of_what_is_in_hand(start in 0..3u64, steps in steps()) {
        let (mut tracker, mut model) = (Tracker::new(start), Model::new(start));
        let mut given: Vec<Seq> = Vec::new();
        for step in steps {
            let before = tracker.watermark();
            match step {
                Step::Begin { gap } => {
                    let offset = model.end + gap;
                    given.push(tracker.begin(offset));
                    model.begin(given[given.len() - 1], offset);
                }
                Step::Peek { gap, passes } => {
                    let offset = tracker.end() + gap;
                    match tracker.peek(offset) {
                        Some(seq) if passes => {
                            tracker.pass(offset);
                            model.begin(seq, offset);
                            model.complete(seq);
                            given.push(seq);
                        }
                        peeked => {
                            let seq = tracker.begin(offset);
                            prop_assert!(peeked.is_none_or(|peeked| peeked == seq));
                            model.begin(seq, offset);
                            given.push(seq);
                        }
                    }
                }
                Step::BeginAgain { back } => {
                    let offset = model.end.saturating_sub(back);
                    given.push(tracker.begin(offset));
                    model.begin(given[given.len() - 1], offset);
                }
                Step::Skip { gap } => {
                    let offset = model.end + gap;
                    tracker.skip(offset);
                    model.skip(offset);
                }
                Step::Complete { nth } if !model.outstanding.is_empty() => {
                    let nth = nth % model.outstanding.len();
                    let seq = *model.outstanding.keys().nth(nth).unwrap();
                    assert!(tracker.complete(seq) && model.complete(seq));
                }
                Step::CompleteAny { nth } if !given.is_empty() => {
                    let seq = given[nth % given.len()];
                    assert_eq!(tracker.complete(seq), model.complete(seq));
                }
                Step::Complete { .. } | Step::CompleteAny { .. } => {}
            }
            assert!(tracker.watermark() >= before, "the watermark moved back");
            compare(&tracker, &model);
        }
    }
}

#[test]
fn starts_at_the_watermark_with_nothing_outstanding() {
    let tracker = Tracker::new(42);
    assert_eq!(
        (tracker.watermark(), tracker.end(), tracker.outstanding()),
        (42, 42, 0)
    );
    assert_eq!(tracker.unsettled().count(), 0);
}

#[test]
fn the_oldest_unsettled_offset_holds_the_watermark() {
    let mut tracker = Tracker::new(0);
    let seqs: Vec<Seq> = [0, 1, 2, 10].map(|offset| tracker.begin(offset)).to_vec();
    assert!(tracker.complete(seqs[1]) && tracker.complete(seqs[3]));
    assert_eq!(tracker.watermark(), 0);
    assert!(tracker.complete(seqs[0]));
    assert_eq!(tracker.watermark(), 2);
    assert!(!tracker.complete(seqs[0]), "complete twice");
    assert!(tracker.complete(seqs[2]));
    assert_eq!(
        tracker.watermark(),
        11,
        "nothing outstanding: one past the highest begun"
    );
}

#[test]
fn skipped_offsets_move_the_watermark_only_when_nothing_is_outstanding() {
    let mut tracker = Tracker::new(0);
    tracker.skip(0);
    assert_eq!(tracker.watermark(), 1);
    let head = tracker.begin(1);
    tracker.skip(2);
    assert_eq!((tracker.watermark(), tracker.end()), (1, 3));
    assert!(tracker.complete(head));
    assert_eq!(tracker.watermark(), 3);
}

#[test]
fn an_offset_delivered_again_is_unsettled_until_both_are_complete() {
    let mut tracker = Tracker::new(0);
    let (first, other) = (tracker.begin(0), tracker.begin(1));
    let again = tracker.begin(0);
    assert!(tracker.complete(first) && tracker.complete(other));
    assert_eq!((tracker.watermark(), tracker.outstanding()), (0, 1));
    assert!(tracker.complete(again));
    assert_eq!(tracker.watermark(), 2);
    let settled = tracker.begin(1);
    assert_eq!(
        (tracker.watermark(), tracker.outstanding()),
        (2, 1),
        "below the watermark: settled for good"
    );
    assert!(tracker.complete(settled));
}

#[test]
fn one_parked_delivery_does_not_make_the_ring_grow() {
    let mut tracker = Tracker::new(0);
    let parked = tracker.begin(0);
    for offset in 1..10_000 {
        let seq = tracker.begin(offset);
        assert!(tracker.complete(seq));
    }
    assert!(
        tracker.ring_len() <= 16,
        "{} entries for one outstanding delivery",
        tracker.ring_len()
    );
    assert_eq!(tracker.unsettled().collect::<Vec<_>>(), [0]);
    assert!(tracker.complete(parked));
    assert_eq!(tracker.watermark(), 10_000);
}

#[test]
#[should_panic(expected = "below 2^63")]
fn an_offset_beyond_the_range_is_refused() {
    Tracker::new(0).begin(1 << 63);
}
