//! Each rule of the audit, with a violation planted.

use super::*;

/// Three rows of key `A`, one after the other, the second of them retried.
fn good() -> Vec<Call> {
    vec![
        line(1, 10, 1, Outcome::Handled, 100, 200),
        line(2, 11, 1, Outcome::Retry, 200, 300),
        line(2, 11, 2, Outcome::Handled, 400, 500),
        line(3, 12, 1, Outcome::Dead, 500, 600),
    ]
}

fn line(row: u64, offset: u64, attempt: u64, outcome: Outcome, start_us: u64, end_us: u64) -> Call {
    Call {
        row,
        key: Some("A".to_owned()),
        topic: "departures".to_owned(),
        partition: 4,
        offset,
        attempt,
        outcome,
        epoch: 1,
        start_us,
        end_us,
        pid: 7,
    }
}

/// The same calls as another owner would note them, this much later.
fn again(calls: &[Call], later_us: u64) -> Vec<Call> {
    calls
        .iter()
        .cloned()
        .map(|call| Call {
            epoch: 2,
            pid: 8,
            start_us: call.start_us + later_us,
            end_us: call.end_us + later_us,
            ..call
        })
        .collect()
}

fn violations(calls: &[Call]) -> String {
    check(calls, 3).expect_err("a violation").join("\n")
}

#[test]
fn a_clean_audit_passes() {
    assert_eq!(
        check(&good(), 3),
        Ok(Summary {
            calls: 4,
            retries: 1,
            repeated: 0
        })
    );
}

#[test]
fn redelivery_to_a_new_owner_is_allowed() {
    let mut calls = good();
    calls.extend(again(&good()[1..], 1000));
    assert_eq!(
        check(&calls, 3),
        Ok(Summary {
            calls: 7,
            retries: 2,
            repeated: 2
        })
    );
}

#[test]
fn a_call_lost_in_a_kill_is_run_by_the_next_owner() {
    let mut calls = good()[..2].to_vec();
    calls.extend(again(&good()[2..], 1000));
    assert!(check(&calls, 3).is_ok());
}

#[test]
fn a_missing_row_is_caught() {
    assert!(violations(&good()[..3]).contains("1 rows without a final outcome, first row 3"));
}

#[test]
fn a_row_that_was_only_retried_is_missing() {
    let mut calls = good();
    calls.remove(2);
    assert!(violations(&calls).contains("first row 2"));
}

#[test]
fn a_row_both_handled_and_dead_is_caught() {
    let mut calls = good();
    calls.extend(again(&[line(3, 12, 1, Outcome::Handled, 500, 600)], 1000));
    assert!(violations(&calls).contains("row 3: both handled and dead"));
}

#[test]
fn a_row_of_no_input_is_caught() {
    let mut calls = good();
    calls.push(line(4, 13, 1, Outcome::Handled, 700, 800));
    assert!(violations(&calls).contains("row 4, attempt 1: not of this input"));
}

#[test]
fn overlapping_calls_of_one_key_are_caught() {
    let mut calls = good();
    calls[3].start_us = 499;
    assert!(violations(&calls).contains("starts before an earlier call of its key ended"));
    // Also when the long call is not the one right before.
    let mut calls = good();
    calls[0].end_us = 450;
    assert!(violations(&calls).contains("offset 11 (row 2, attempt 2): starts before"));
}

#[test]
fn calls_of_different_keys_may_overlap() {
    let mut calls = good();
    calls[3].key = Some("B".to_owned());
    calls[3].start_us = 100;
    assert!(check(&calls, 3).is_ok());
}

#[test]
fn overlap_with_a_former_owner_is_no_violation_of_this_epoch() {
    let mut calls = good();
    calls.extend(again(&good()[3..], 50));
    assert!(check(&calls, 3).is_ok());
}

#[test]
fn a_follower_that_overtakes_a_waiting_head_is_caught() {
    let calls = [
        line(1, 10, 1, Outcome::Handled, 100, 200),
        line(2, 11, 1, Outcome::Retry, 200, 300),
        line(3, 12, 1, Outcome::Handled, 300, 400),
        line(2, 11, 2, Outcome::Handled, 400, 500),
    ];
    let found = violations(&calls);
    assert!(
        found.contains("offset 12 (row 3, attempt 1): runs while offset 11 waits for a retry"),
        "{found}"
    );
    assert!(
        found.contains("offset 11 (row 2, attempt 2): final after offset 12"),
        "{found}"
    );
}

#[test]
fn a_follower_that_only_starts_while_the_head_waits_is_caught() {
    let calls = [
        line(1, 10, 1, Outcome::Retry, 100, 200),
        line(2, 11, 1, Outcome::Retry, 200, 300),
        line(1, 10, 2, Outcome::Handled, 300, 400),
        line(2, 11, 2, Outcome::Handled, 400, 500),
        line(3, 12, 1, Outcome::Handled, 500, 600),
    ];
    assert!(violations(&calls).contains("runs while offset 10 waits for a retry"));
}

#[test]
fn order_across_owners_is_checked() {
    let mut calls = vec![
        line(1, 10, 1, Outcome::Handled, 100, 200),
        line(3, 12, 1, Outcome::Handled, 300, 400),
    ];
    calls.extend(again(&[line(2, 11, 1, Outcome::Handled, 300, 400)], 1000));
    assert!(
        violations(&calls)
            .contains("epoch 2, pid 8: offset 11 (row 2, attempt 1): final after offset 12")
    );
}

#[test]
fn order_within_a_later_owner_is_checked_even_if_all_was_final_before() {
    let mut calls = good();
    calls.extend(again(
        &[
            line(3, 12, 1, Outcome::Dead, 100, 200),
            line(2, 11, 1, Outcome::Handled, 300, 400),
        ],
        1000,
    ));
    assert!(violations(&calls).contains("epoch 2, pid 8: offset 11"));
}

#[test]
fn a_record_that_one_owner_handles_twice_is_caught() {
    let mut calls = good();
    calls.push(line(3, 12, 1, Outcome::Dead, 600, 700));
    assert!(violations(&calls).contains("offset 12 (row 3, attempt 1): again after its end"));
    // Keys have an order, null keys have none; neither may be doubled.
    for call in &mut calls {
        call.key = None;
    }
    assert!(violations(&calls).contains("again after its end"));
}

#[test]
fn an_attempt_that_one_owner_makes_twice_is_caught() {
    let mut calls = good();
    calls.insert(2, line(2, 11, 1, Outcome::Retry, 300, 350));
    assert!(violations(&calls).contains("offset 11 (row 2, attempt 1): the same attempt again"));
}

#[test]
fn null_keys_have_no_order() {
    let mut calls = good();
    // The last record first; the attempts of one record stay in their order.
    calls.rotate_right(1);
    for (index, call) in calls.iter_mut().enumerate() {
        call.key = None;
        call.start_us = 100 * index as u64;
        call.end_us = call.start_us + 1000;
    }
    assert!(check(&calls, 3).is_ok());
}

#[test]
fn a_row_published_twice_is_allowed_and_rows_out_of_order_are_not() {
    let mut calls = good();
    calls.push(line(2, 13, 1, Outcome::Handled, 700, 800));
    calls.push(line(3, 14, 1, Outcome::Dead, 800, 900));
    assert!(check(&calls, 3).is_ok());
    let swapped = [
        line(1, 10, 1, Outcome::Handled, 100, 200),
        line(3, 11, 1, Outcome::Dead, 200, 300),
        line(2, 12, 1, Outcome::Handled, 300, 400),
    ];
    assert!(violations(&swapped).contains("(row 2, attempt 1): published after row 3"));
}

#[test]
fn lines_are_parsed_and_a_torn_last_one_is_left_out() {
    let text = concat!(
        r#"{"row":1,"key":"N1","topic":"departures","partition":3,"offset":0,"attempt":1,"outcome":"handled","epoch":2,"start_us":5,"end_us":6,"pid":9}"#,
        "\n",
        r#"{"row":2,"key":null,"topic":"departures","partition":3,"offset":1,"attempt":1,"outcome":"dead","epoch":2,"start_us":5,"end_us":6,"pid":9}"#,
        "\n",
        r#"{"row":3,"key":"N1","topic":"depar"#,
    );
    let calls = parse("a.jsonl", text).expect("lines");
    assert_eq!(calls.len(), 2);
    assert_eq!(
        (calls[0].key.as_deref(), calls[1].key.as_deref()),
        (Some("N1"), None)
    );
    assert_eq!(
        (calls[0].outcome, calls[1].outcome),
        (Outcome::Handled, Outcome::Dead)
    );
    let error = parse("a.jsonl", "{\"row\":1}\n").expect_err("an incomplete line");
    assert!(error.starts_with("a.jsonl:1: "), "{error}");
}
