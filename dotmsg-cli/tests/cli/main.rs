//! The command over a log in a temporary directory: the real binary, and a service that has the commands over its own app. Some of
//! it also over Kafka, on the broker that `DOTMSG_TEST_KAFKA_URL` names.

mod desk;
mod messages;
mod mute;
mod routes;
mod session;
mod support;

use support::Desk;

/// What does not depend on the backend, on a log and on a real broker.
macro_rules! on_each {
    ($($name:ident => $body:path),+ $(,)?) => {
        mod on_a_log {
            $(#[tokio::test]
            async fn $name() {
                $body(super::Desk::new()).await;
            })+
        }

        #[cfg(feature = "kafka")]
        mod on_kafka {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(desk) = super::Desk::on_kafka() {
                    $body(desk).await;
                }
            })+
        }
    };
}

on_each! {
    each_is_replayed_once => super::desk::replay,
    what_is_discarded_is_gone_from_every_list => super::desk::discard,
    an_export_is_what_produce_reads => super::desk::export,
    lag_is_what_is_not_committed => super::routes::lag,
    positions_are_shown_and_moved_after_a_preview => super::routes::positions,
}
