//! When librdkafka is looked into although nobody consumes.
//!
//! librdkafka takes every look into its queues of events and messages for a sign of life, and gives up the membership only if there
//! was none for `max.poll.interval.ms`. It checks that twice a second (`rd_kafka_cgrp_max_poll_interval_check_tmr_cb`), so a look
//! right after that time may come before the check, and with such looks the member of a stuck route would stay in its group for
//! ever: it would send heartbeats, and answer no revocation. So each look waits out the whole time again, whatever the one before
//! it has shown.

use std::time::Duration;

/// How long after that time a look may come: librdkafka has seen then that it is over. Where a busy machine needs longer, the next
/// look finds it.
const CHECKED_WITHIN: Duration = Duration::from_secs(1);

/// Whether the source of the member is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consumed {
    Yes,
    /// Not for so long that librdkafka is not polled either.
    NotLately,
    /// librdkafka has given up the membership by now, if it was in time. The rebalance that says so is heard and not answered: an
    /// answer would make it join again, for nobody.
    No,
}

/// `silent`: since the source was polled; `looked`: since librdkafka was looked into; `limit`: `max.poll.interval.ms`.
pub(super) fn consumed(silent: Duration, looked: Duration, limit: Duration) -> Consumed {
    if silent < limit / 2 {
        Consumed::Yes
    } else if looked < limit + CHECKED_WITHIN {
        Consumed::NotLately
    } else {
        Consumed::No
    }
}

#[cfg(test)]
mod tests {
    use super::{Consumed, consumed};
    use proptest::prelude::*;
    use std::time::Duration;

    /// How often librdkafka checks.
    const CHECK: u64 = 500;

    proptest! {
        /// A source is silent from 0 on. Whenever librdkafka checks, a little late, it sees the time run out, and that is heard.
        #[test]
        fn a_stuck_member_is_given_up(
            limit in 1_000_u64..20_000,
            first_check in 0..CHECK,
            late in 0_u64..400,
            steps in prop::collection::vec(1_u64..200, 1_000),
        ) {
            let (mut time, mut looked, mut check) = (0, 0, first_check);
            let (mut given_up, mut heard) = (None, false);
            for step in steps {
                time += step;
                while check + late <= time {
                    if check + late > looked + limit {
                        given_up.get_or_insert(check + late);
                    }
                    check += CHECK;
                }
                let ms = Duration::from_millis;
                if consumed(ms(time), ms(time - looked), ms(limit)) != Consumed::NotLately {
                    looked = time;
                    heard |= given_up.is_some();
                }
            }
            let soonest = limit / 2 + limit;
            prop_assert!(given_up.is_some_and(|at| at >= soonest - 200 && at <= soonest + 900));
            prop_assert!(heard);
        }
    }
}
