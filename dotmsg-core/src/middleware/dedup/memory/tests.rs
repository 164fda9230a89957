//! The table against a naive model.

use std::collections::HashMap;

use proptest::prelude::*;

use super::id::{SHORT, Sought};
use super::table::{Claimed, Table};

#[derive(Clone, Debug)]
enum Step {
    Claim(u8),
    /// The claim in hand of this number, modulo how many there are.
    Succeed(usize),
    Release(usize),
    /// A claim that has ended ends again.
    Stale(usize),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => any::<u8>().prop_map(|id| Step::Claim(id % 24)),
        6 => any::<usize>().prop_map(Step::Succeed),
        2 => any::<usize>().prop_map(Step::Release),
        1 => any::<usize>().prop_map(Step::Stale),
        2 => (0..60_u64).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 0..400)
}

/// Long and short ones, all of them below the share of a long one.
fn bytes(id: u8) -> Vec<u8> {
    match id {
        // The longest that is short, and the next one.
        0 | 1 => vec![id; SHORT + usize::from(id)],
        _ => vec![id; 1 + usize::from(id) * 5],
    }
}

/// Few values, so that ids share them.
fn hash(id: u8) -> u64 {
    u64::from(id % 3) << 60 | u64::from(id % 2)
}

#[derive(Default)]
struct Model {
    running: HashMap<u8, u64>,
    /// In the order of their success.
    handled: Vec<(u8, u64)>,
}

impl Model {
    fn is_known(&self, id: u8, now: u64, keep: u64) -> bool {
        let mut handled = self.handled.iter();
        handled.any(|(other, at)| *other == id && now < at + keep)
    }

    fn succeed(&mut self, id: u8, now: u64, max: usize) {
        self.running.remove(&id);
        self.handled.retain(|(other, _)| *other != id);
        self.handled.push((id, now));
        let beyond = self.handled.len().saturating_sub(max);
        self.handled.drain(..beyond);
    }
}

proptest! {
    #[test]
    fn it_says_what_a_naive_one_says(steps in steps(), max in 1..12_usize, keep in 1..100_u64) {
        let mut table = Table::new(max, keep);
        let mut model = Model::default();
        let mut now = 0;
        let mut claims: Vec<(u8, u64)> = Vec::new();
        let mut stale: Vec<u64> = Vec::new();
        for step in steps {
            // Whatever has expired counts for nothing, so the model need not keep it.
            model.handled.retain(|(_, at)| now < at + keep);
            match step {
                Step::Claim(id) => {
                    let claimed = table.claim(hash(id), &Sought::new(&bytes(id)), || now);
                    match model.running.get(&id) {
                        Some(token) => prop_assert_eq!(claimed, Claimed::Running(*token)),
                        None if model.is_known(id, now, keep) => prop_assert_eq!(claimed, Claimed::Handled),
                        None => {
                            let Claimed::Granted(token) = claimed else {
                                panic!("{claimed:?} of {id}");
                            };
                            prop_assert!(!stale.contains(&token));
                            model.running.insert(id, token);
                            claims.push((id, token));
                        }
                    }
                }
                Step::Succeed(n) if !claims.is_empty() => {
                    let (id, token) = claims.swap_remove(n % claims.len());
                    table.succeed(token, now);
                    model.succeed(id, now, max);
                    stale.push(token);
                }
                Step::Release(n) if !claims.is_empty() => {
                    let (id, token) = claims.swap_remove(n % claims.len());
                    table.release(token);
                    model.running.remove(&id);
                    stale.push(token);
                }
                Step::Stale(n) if !stale.is_empty() => {
                    table.succeed(stale[n % stale.len()], now);
                    table.release(stale[n % stale.len()]);
                }
                Step::Pass(ms) => now += ms,
                Step::Succeed(_) | Step::Release(_) | Step::Stale(_) => {}
            }
            prop_assert!(table.handled() <= max);
            prop_assert!(table.handled() >= model.handled.iter().filter(|(_, at)| now < at + keep).count());
        }
    }
}

#[test]
fn long_ids_make_others_be_forgotten() {
    let mut table = Table::new(4, 1_000);
    let long = |n: u8| vec![n; 400];
    let mut handle = |n: u8| match table.claim(u64::from(n), &Sought::new(&long(n)), || 0) {
        Claimed::Granted(token) => {
            table.succeed(token, 0);
            true
        }
        _ => false,
    };
    // 512 bytes of them may be kept.
    assert!(handle(1));
    assert!(!handle(1));
    assert!(handle(2));
    assert!(!handle(2));
    assert!(handle(1), "it was forgotten for the second");
}
