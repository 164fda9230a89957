//! Which parts of a batch are called, and what its members come to: against what must hold for any handler.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::BatchParts;
use super::super::bisection::Bisection;
use super::{delivery, offsets, parts, stream};
use crate::handler::{Answer, HandlerError, HandlerResult, Returned};

/// What a message does to the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    Good,
    /// The call fails as a whole.
    Spoils,
    /// It is answered as a failure that may pass.
    Transient,
    /// It is answered as a failure that will not pass.
    Permanent,
}

fn nature() -> impl Strategy<Value = Nature> {
    prop_oneof![
        12 => Just(Nature::Good),
        1 => Just(Nature::Spoils),
        1 => Just(Nature::Transient),
        1 => Just(Nature::Permanent),
    ]
}

/// Calls until all have results: these, and the members of each call.
fn run(natures: &[Nature], keep: bool) -> (Vec<HandlerResult>, Vec<Vec<usize>>) {
    let stream = stream(0);
    let deliveries = (0..natures.len() as u64).map(|offset| delivery(&stream, offset));
    let parts = BatchParts { keep, ..parts(1) };
    let mut bisection = Bisection::new(deliveries.collect(), &parts);
    let mut calls = Vec::new();
    while let Some((called, call)) = bisection.next_call(|_| true) {
        let in_call: Vec<u64> = called.iter().map(|index| *index as u64).collect();
        assert_eq!(offsets(&call), in_call);
        let spoiled = called.iter().any(|index| natures[*index] == Nature::Spoils);
        let answer = |index: &usize| match natures[*index] {
            Nature::Transient => Err(HandlerError::transient("transient")),
            Nature::Permanent => Err(HandlerError::permanent("permanent")),
            Nature::Good | Nature::Spoils => Ok(Returned::default()),
        };
        let result = match spoiled {
            true => Err(HandlerError::transient("spoiled").kind("spoiled")),
            false => Ok(Answer::each(called.iter().map(answer).collect())),
        };
        bisection.answered(&called, result);
        calls.push(called);
    }
    (results(&mut bisection), calls)
}

/// The result of each.
fn results(bisection: &mut Bisection<'_>) -> Vec<HandlerResult> {
    let mut results: Vec<_> = bisection.take_news();
    results.sort_by_key(|(index, _)| *index);
    assert!(
        results.iter().map(|(index, _)| *index).eq(0..results.len()),
        "one for each"
    );
    results.into_iter().map(|(_, result)| result).collect()
}

/// By the keys of [`delivery`].
fn same_key(one: usize, other: usize) -> bool {
    one % 3 == other % 3
}

fn is_put_back(result: &HandlerResult) -> bool {
    result.as_ref().is_err_and(HandlerError::is_put_back)
}

fn may_pass(result: &HandlerResult) -> bool {
    let may_pass = |error: &HandlerError| error.is_transient() && !error.is_put_back();
    result.as_ref().is_err_and(may_pass)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn whatever_the_handler_does(natures in prop::collection::vec(nature(), 1..130), ordered: bool) {
        let (results, calls) = run(&natures, ordered);
        prop_assert_eq!(results.len(), natures.len());
        // Calls are bounded, and in each the members are in order.
        let halvings = natures.len().next_power_of_two().ilog2() as usize;
        let spoils = natures.iter().filter(|one| **one == Nature::Spoils).count();
        prop_assert!(calls.len() <= 1 + 2 * spoils * halvings, "{} calls", calls.len());
        prop_assert!(calls.iter().all(|call| call.is_sorted()));
        for (index, result) in results.iter().enumerate() {
            let ahead = (0..index).find(|ahead| same_key(*ahead, index) && may_pass(&results[*ahead]));
            // Put back is what is behind one of its key that is to run again, and nothing else.
            prop_assert_eq!(is_put_back(result), ordered && ahead.is_some(), "{}", index);
            match natures[index] {
                _ if is_put_back(result) => {}
                Nature::Spoils | Nature::Transient => prop_assert!(may_pass(result)),
                Nature::Permanent | Nature::Good => {
                    // What is good is not given up, whatever is beside it.
                    let own = result.is_ok() == (natures[index] == Nature::Good);
                    prop_assert!(own || may_pass(result), "{}", index);
                    // As long as no more spoil it than by a stroke of bad luck, each has its own answer.
                    prop_assert!(own || spoils > 2, "{}", index);
                }
            }
            prop_assert!(is_put_back(result) || calls.iter().any(|call| call.contains(&index)));
        }
    }
}

#[test]
fn one_that_spoils_is_found_with_few_calls() {
    for place in 0..100 {
        let mut natures = [Nature::Good; 100];
        natures[place] = Nature::Spoils;
        let (results, calls) = run(&natures, false);
        let failed: BTreeSet<usize> = (0..100).filter(|index| results[*index].is_err()).collect();
        assert_eq!(failed, BTreeSet::from([place]));
        assert!(calls.len() <= 15, "{} calls", calls.len());
        let kind = results[place].as_ref().unwrap_err().kind_name().to_owned();
        assert_eq!(kind, "spoiled");
    }
}

#[test]
fn a_handler_that_always_fails_is_not_called_for_each() {
    let (results, calls) = run(&[Nature::Spoils; 128], false);
    assert!(calls.len() <= 2 * 7 + 2 + 7, "{} calls", calls.len());
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(
            (error.kind_name(), &*error.to_string()),
            ("spoiled", "spoiled")
        );
        assert_eq!(error.chain().collect::<Vec<_>>(), ["spoiled"]);
    }
}

#[test]
fn answers_of_another_number_fail_the_call() {
    let stream = stream(0);
    let parts = parts(1);
    let mut bisection = Bisection::new(vec![delivery(&stream, 0)], &parts);
    let (called, _) = bisection.next_call(|_| true).unwrap();
    bisection.answered(&called, Ok(Answer::each(Vec::new())));
    assert!(bisection.next_call(|_| true).is_none());
    let error = results(&mut bisection).remove(0).unwrap_err();
    assert_eq!(error.kind_name(), "answers");
    assert!(
        error.to_string().contains("0 answers for 1 messages"),
        "{error}"
    );
}

#[test]
fn a_half_without_a_bad_one_is_settled_however_many_are_in_the_other() {
    let mut natures = [Nature::Spoils; 100];
    natures[50..].fill(Nature::Good);
    let (results, _) = run(&natures, false);
    assert!(results[..50].iter().all(may_pass));
    assert!(results[50..].iter().all(Result::is_ok));
}
