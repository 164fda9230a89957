//! The register of all cases: theme and name, the guarantees a case shows, what it needs.
//!
//! One table feeds both the list ([`CASES`]) and the tests that [`conformance!`](crate::conformance) expands to: a case that
//! is written and not registered does not compile (it would be dead code), and one that is registered runs everywhere.

use std::future::Future;
use std::pin::Pin;

use crate::need::{Guarantee, Need};
use crate::trial::Trial;

/// One case of the suite.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Case {
    /// Its theme, a file of `cases`.
    pub theme: &'static str,
    /// Its name within the theme.
    pub name: &'static str,
    /// What it shows.
    pub guarantees: &'static [Guarantee],
    /// What it needs to run.
    pub needs: &'static [Need],
    pub(crate) run: fn(Trial) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// The table; calls `$callback!` with its rows.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_table {
    ($callback:ident) => {
        $crate::$callback! {
            publish {
                round_trip [NoLoss] [History];
                each_record_has_its_own_outcome [NoLoss] [];
                to_where_the_key_belongs [KeyOrder] [];
                to_where_a_partitioner_says [KeyOrder] [Partitioner];
                a_partitioner_without_an_answer [KeyOrder] [Partitioner];
                many_publishers_lose_nothing [NoLoss] [History];
            }
            read {
                from_where_it_is_told [NoLoss] [History];
                waits_for_what_comes [NoLoss] [History];
                many_partitions_at_once [NoLoss] [History];
                batches_keep_their_limits [Bounded] [History];
            }
            admin {
                topics_are_described [NoLoss] [];
                retention_is_as_asked [NoLoss] [History];
                offsets_are_told [NoLoss] [];
                groups_are_listed [NoLoss] [Position];
            }
            assignment {
                partitions_arrive_paused [HandOver] [];
                pause_and_resume [Bounded] [];
                batches_keep_their_limits [Bounded] [];
                groups_are_apart [NoLoss] [Position];
                a_late_group_gets_history [NoLoss] [History];
                topics_are_apart [NoLoss] [];
                the_ends_of_a_membership [HandOver] [];
            }
            progress {
                is_read_back [NoLoss, HandOver] [Position];
                is_whole [NoLoss] [Position];
                has_an_outcome_per_partition [NoLoss] [Position];
                of_a_former_owner_is_refused [HandOver] [Position];
                survives_a_crash_of_its_owner [NoLoss, HandOver] [Position];
                is_never_past_unsettled_work [NoLoss] [Position];
                remembers_out_of_order_completions [NoLoss] [Position];
                tells_the_lag [NoLoss] [Position];
            }
            order {
                of_a_key [KeyOrder] [Position, KeyOrder];
                of_a_key_over_several_workers [KeyOrder] [Position, KeyOrder];
                of_a_partition [KeyOrder] [Position, KeyOrder];
                after_failures [KeyOrder, NoBlocking] [Position, KeyOrder];
                null_keys_have_none [NoBlocking] [Position];
                none_when_none_is_asked_for [NoBlocking] [Position];
            }
            crash {
                in_a_takeover [NoLoss, HandOver] [Position];
                after_a_takeover_is_written [NoLoss, HandOver] [Position];
                before_the_effect [NoLoss] [Position];
                after_the_effect [NoLoss] [Position];
                before_a_commit [NoLoss] [Position];
                after_a_commit [NoLoss] [Position];
                before_a_retry_is_published [NoLoss] [Position];
                after_a_retry_is_published [NoLoss] [Position];
                a_retry_that_nobody_named_is_void [NoLoss, KeyOrder] [Position];
                lost_answers_are_asked_for_again [NoLoss] [Position];
                before_a_dead_letter [NoLoss] [Position];
                after_a_dead_letter [NoLoss] [Position];
                again_and_again [NoLoss, KeyOrder] [Position];
            }
            retry {
                is_never_early [NoBlocking] [Position];
                others_run_on [NoBlocking, KeyOrder] [Position];
                followers_run_on_when_order_is_relaxed [NoBlocking] [Position, KeyOrder];
                in_place [NoBlocking] [Position];
                walks_the_whole_ladder [NoBlocking] [Position];
                whatever_fails_is_tried_again [NoLoss] [Position];
                a_removed_tier_is_drained [NoLoss] [Position];
                away_heads_survive_a_stop [NoLoss, KeyOrder] [Position];
            }
            dead_letters {
                are_complete [NoLoss, NoBlocking] [Position];
                of_payloads_that_do_not_decode [NoLoss, NoBlocking] [Position, KeyOrder];
                of_what_fails_for_good [NoLoss] [Position, KeyOrder];
                of_the_largest_messages [NoLoss] [Position, RecordLimit];
                records_above_the_limit_are_refused [NoLoss] [RecordLimit];
                many_at_once [NoLoss] [Position];
            }
            replay {
                is_once [NoLoss] [Position];
                is_private_to_the_group [NoLoss] [Position];
                survives_a_stop [NoLoss] [Position, KeyOrder];
            }
            limits {
                handlers_running [Bounded] [Position];
                messages_held [Bounded] [Position, KeyOrder];
                bytes_held [Bounded] [Position];
                followers_parked [Bounded, KeyOrder] [Position, KeyOrder];
                keys_away [Bounded] [Position, KeyOrder];
            }
            shutdown {
                loses_and_repeats_nothing [NoLoss, HandOver] [Position];
                ends_in_time [HandOver] [Position];
                lets_running_handlers_end [HandOver] [Position];
                leaves_what_is_away [HandOver] [Position];
                at_once_and_twice [HandOver] [Position];
                a_closed_connection_refuses [HandOver] [];
            }
            restart {
                keeps_what_was_confirmed [NoLoss] [Position, History, Durable, Restart];
                keeps_what_is_away [NoLoss, KeyOrder] [Position, Durable, Restart];
                goes_on_from_a_position_behind_it [NoLoss] [Position, Durable, Restart];
                ten_thousand_messages_across_two [NoLoss] [Position, Durable, Restart];
                old_connections_do_not_go_quiet [NoLoss] [Position, Durable, Restart];
            }
            retention {
                is_told_to_a_member [NoLoss] [History, Trim];
                is_told_to_a_reader [NoLoss] [History, Trim];
                stops_an_app_or_is_counted [NoLoss] [Position, History, Trim];
            }
            sharing {
                is_balanced [HandOver] [Position, Shared];
                gives_each_message_to_one [NoLoss] [Position, Shared];
                goes_on_where_the_last_owner_was [NoLoss, HandOver] [Position, Shared];
                a_revocation_waits_for_the_release [HandOver] [Position, Shared];
                a_silent_member_loses_its_partitions [HandOver] [Position, Shared];
                to_be_alone_is_kept [HandOver] [Position, Shared];
                a_static_member_comes_back [HandOver] [Position, Shared];
                of_one_instance_the_later_stays [HandOver] [Position, Shared, LaterStays];
                of_one_instance_the_earlier_stays [HandOver] [Position, Shared, EarlierStays];
            }
            rebalance {
                apps_share_the_work [NoLoss, HandOver] [Position, Shared, KeyOrder];
                joining_and_leaving_lose_and_repeat_nothing [NoLoss, KeyOrder, HandOver] [Position, Shared, KeyOrder];
                a_killed_app_is_followed [NoLoss, KeyOrder] [Position, Shared];
                a_frozen_app_has_no_effect [NoLoss, HandOver] [Position, Shared];
                away_heads_move_with_their_partition [NoBlocking, KeyOrder, HandOver] [Position, Shared, KeyOrder];
                a_member_without_partitions_waits_for_some [NoLoss, HandOver] [Position, Shared, KeyOrder];
            }
            exactly_once {
                messages_and_progress_are_one [NoLoss, OnlyOnce] [Position, KeyOrder, Transactions];
                of_messages_that_fail_at_first [OnlyOnce, KeyOrder] [Position, KeyOrder, Transactions];
                killed_before_a_commit [NoLoss, OnlyOnce] [Position, KeyOrder, Transactions];
                killed_after_a_commit [NoLoss, OnlyOnce] [Position, KeyOrder, Transactions];
                lost_answers [NoLoss, OnlyOnce] [Position, KeyOrder, Transactions];
                across_rebalances [NoLoss, OnlyOnce, HandOver] [Position, KeyOrder, Shared, Transactions];
                a_frozen_app_has_no_effect [OnlyOnce, HandOver] [Position, KeyOrder, Shared, Transactions];
                of_messages_that_are_refused [NoBlocking, OnlyOnce] [Position, KeyOrder, RecordLimit, Transactions];
            }
            refusal {
                declares_what_it_has [Refusal] [];
                of_exactly_once [Refusal] [NoTransactions];
                of_order [Refusal] [NoKeyOrder];
                of_a_partitioner [Refusal] [NoPartitioner];
                of_apps_without_position_records [Refusal] [NoPosition];
                of_a_second_member [Refusal] [SingleMember];
                of_names_that_are_too_long [Refusal] [];
                of_topics_that_do_not_exist [Refusal] [];
            }
        }
    };
}

/// One `#[test]` per case of the suite, on this [`Fixture`](crate::Fixture): `conformance::<theme>::<case>`.
///
/// `conformance!(eager: Eager, only crash sharing)` makes a second module, here `eager`, of some themes: for another setting of
/// the same backend, which they depend on.
#[macro_export]
macro_rules! conformance {
    ($name:ident: $fixture:ty, only $($theme:ident)+) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            static SUITE: $crate::Suite<$fixture> = $crate::Suite::new();

            const _: () = $crate::__are_themes(&[$(stringify!($theme)),+]);

            $crate::__conformance_only!(($) $($theme)+);
            $crate::__conformance_table!(__conformance_tests_of_some);
        }
    };
    ($fixture:ty) => {
        mod conformance {
            #[allow(unused_imports)]
            use super::*;

            static SUITE: $crate::Suite<$fixture> = $crate::Suite::new();

            $crate::__conformance_table!(__conformance_tests);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($($theme:ident { $($case:ident [$($guarantee:ident),*] [$($need:ident),*];)* })*) => {
        $(mod $theme {
            $(#[test]
            fn $case() {
                super::SUITE.run(stringify!($theme), stringify!($case));
            })*
        })*
    };
}

/// Defines `__only!`, which keeps the tests of these themes. The first argument is a dollar sign, which a macro that makes a macro
/// cannot write.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_only {
    (($dollar:tt) $($theme:ident)+) => {
        macro_rules! __only {
            $(($theme $dollar($dollar tests:tt)*) => {
                mod $theme {
                    $dollar($dollar tests)*
                }
            };)+
            ($dollar($dollar other:tt)*) => {};
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests_of_some {
    ($($theme:ident { $($case:ident [$($guarantee:ident),*] [$($need:ident),*];)* })*) => {
        $(__only! { $theme
            $(#[test]
            fn $case() {
                super::SUITE.run(stringify!($theme), stringify!($case));
            })*
        })*
    };
}

/// Refuses, while it compiles, a theme that there is not: it would have no tests.
#[doc(hidden)]
pub const fn __are_themes(names: &[&str]) {
    let mut name = 0;
    while name < names.len() {
        let mut case = 0;
        while case < CASES.len() && !is_same(CASES[case].theme, names[name]) {
            case += 1;
        }
        assert!(case < CASES.len(), "there is no such theme");
        name += 1;
    }
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_list {
    ($($theme:ident { $($case:ident [$($guarantee:ident),*] [$($need:ident),*];)* })*) => {
        /// All cases.
        pub const CASES: &[Case] = &[
            $($(Case {
                theme: stringify!($theme),
                name: stringify!($case),
                guarantees: &[$(Guarantee::$guarantee),*],
                needs: &[$(Need::$need),*],
                run: |trial| Box::pin($crate::cases::$theme::$case(trial)),
            },)*)*
        ];
    };
}

crate::__conformance_table!(__conformance_list);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_shows_something() {
        let mut names = BTreeSet::new();
        for case in CASES {
            assert!(names.insert((case.theme, case.name)), "{case:?}");
            assert!(!case.guarantees.is_empty(), "{case:?}");
        }
    }

    /// docs/guarantees.md says of each promise which themes try it: neither more nor less than the table says.
    #[test]
    fn the_guide_names_the_themes_of_each_guarantee() {
        let guide = include_str!("../../docs/guarantees.md");
        let sections = guide.split("\n## ").skip(1);
        let themed: Vec<(&str, BTreeSet<&str>)> = sections
            .filter_map(|section| {
                let (title, rest) = section.split_once('\n')?;
                let (_, listed) = rest.split_once("- Conformance:")?;
                let listed = listed.split("\n- ").next()?.split("\n\n").next()?;
                let names = listed.split('`').skip(1).step_by(2);
                Some((title, names.collect()))
            })
            .collect();
        let mut guarantees = BTreeSet::new();
        for case in CASES {
            guarantees.extend(case.guarantees.iter().map(ToString::to_string));
        }
        assert_eq!(themed.len(), guarantees.len(), "{themed:?}");
        for guarantee in guarantees {
            let of_it = |case: &&Case| {
                let mut own = case.guarantees.iter();
                own.any(|own| own.to_string() == guarantee)
            };
            let themes: BTreeSet<&str> =
                CASES.iter().filter(of_it).map(|case| case.theme).collect();
            let lower = guarantee.to_lowercase();
            let told = themed
                .iter()
                .find(|(title, _)| title.to_lowercase() == lower);
            let Some((_, told)) = told else {
                panic!("docs/guarantees.md has no section `{guarantee}`");
            };
            assert_eq!(told, &themes, "{guarantee}");
        }
    }
}
