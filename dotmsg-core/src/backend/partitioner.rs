//! A partitioner of the application's own, instead of murmur2.
//!
//! It is the user's code on the path of publishing, called by an adapter, perhaps on a thread of a client library. So adapters
//! call it through [`partition_by`] only: an answer that is no partition, and a panic, are errors of the one message.
//!
//! It sees the key and nothing else of a message: two messages of one key are then never in two partitions, which is what the
//! order of a key rests on. Null keys have no order; the backend spreads them, and asks nobody. Nor is it asked about a
//! group's own topics: a record there has the partition number of its source, never one by key.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, ErrorKind, Result};

/// Chooses the partition of a key, for every message that an app publishes to a backend without saying the partition
/// ([`App::partitioner`](crate::app::App::partitioner)).
///
/// A key has to have the same partition whoever publishes it, and for as long as its messages are kept: a partitioner is a
/// pure function of its arguments, and to change it moves keys, as growing a topic does.
///
/// ```
/// use dotmsg_core::backend::{Partitioner, partition_for_key};
///
/// /// Keys such as `acme/17`: all of one tenant go to one partition.
/// #[derive(Debug)]
/// struct ByTenant;
///
/// impl Partitioner for ByTenant {
///     fn partition(&self, _topic: &str, key: &[u8], partitions: u32) -> u32 {
///         let tenant = key.split(|byte| *byte == b'/').next().unwrap_or(key);
///         partition_for_key(tenant, partitions)
///     }
/// }
///
/// let (one, other) = (b"acme/17", b"acme/4");
/// assert_eq!(
///     ByTenant.partition("orders", one, 12),
///     ByTenant.partition("orders", other, 12),
/// );
/// ```
pub trait Partitioner: fmt::Debug + Send + Sync + 'static {
    /// The partition of this key in a topic with so many partitions, at least one: a number below `partitions`.
    ///
    /// It runs wherever the backend publishes, perhaps on several threads at once, and must not block. A number that is not
    /// below `partitions`, and a panic, fail the message that was to be published, for good.
    fn partition(&self, topic: &str, key: &[u8], partitions: u32) -> u32;
}

/// Asks a partitioner, as adapters do.
///
/// # Errors
/// [`ErrorKind::Invalid`] when its answer is no partition of the topic, and when it panics.
pub fn partition_by(
    partitioner: &dyn Partitioner,
    topic: &str,
    key: &[u8],
    partitions: u32,
) -> Result<u32> {
    let asked = AssertUnwindSafe(|| partitioner.partition(topic, key, partitions));
    match catch_unwind(asked) {
        Ok(partition) if partition < partitions => Ok(partition),
        Ok(partition) => Err(failed("the partitioner's answer is no partition", topic)
            .with("partition", partition)
            .with("partitions", partitions)
            .remedy("It has to be below the number of partitions that it was given")),
        Err(panic) => Err(failed("the partitioner panicked", topic).with("panic", said(panic))),
    }
}

fn failed(message: &'static str, topic: &str) -> Error {
    Error::new(ErrorKind::Invalid, "publish", message).with("topic", topic)
}

fn said(panic: Box<dyn Any + Send>) -> String {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        return (*text).to_owned();
    }
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(unknown) => {
            // Its destructor may panic too, and here nobody would catch that.
            std::mem::forget(unknown);
            "(no text)".to_owned()
        }
    }
}

/// What a backend says that honours none.
pub(super) fn refused() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "set partitioner",
        "this backend honours no partitioner but its own",
    )
    .remedy("Remove App::partitioner for it, or say the partition of each message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct By(fn(&str, &[u8], u32) -> u32);

    impl Partitioner for By {
        fn partition(&self, topic: &str, key: &[u8], partitions: u32) -> u32 {
            (self.0)(topic, key, partitions)
        }
    }

    fn ask(by: fn(&str, &[u8], u32) -> u32) -> Result<u32> {
        partition_by(&By(by), "orders", b"secret", 3)
    }

    #[test]
    fn what_is_below_the_number_of_partitions_is_an_answer() {
        assert_eq!(ask(|_, _, _| 0).unwrap(), 0);
        assert_eq!(
            ask(|_, key, partitions| key.len() as u32 % partitions).unwrap(),
            0
        );
        assert_eq!(ask(|_, _, partitions| partitions - 1).unwrap(), 2);
    }

    #[test]
    fn what_is_not_is_an_error_that_says_which_and_not_of_which_key() {
        for wrong in [
            (|_, _, partitions| partitions) as fn(&str, &[u8], u32) -> u32,
            |_, _, _| u32::MAX,
        ] {
            let error = ask(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let text = error.to_string();
            assert!(
                text.contains("orders") && text.contains("partitions 3"),
                "{text}"
            );
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_panic_is_an_error_with_its_text() {
        let text = ask(|_, _, _| panic!("no {}", "tenant"))
            .unwrap_err()
            .to_string();
        assert!(text.contains("no tenant"), "{text}");
        let text = ask(|_, _, _| panic!("none")).unwrap_err().to_string();
        assert!(text.contains("none"), "{text}");
    }

    #[test]
    fn a_panic_whose_destructor_panics_too_is_survived() {
        struct Worse;
        impl Drop for Worse {
            fn drop(&mut self) {
                panic!("in the destructor");
            }
        }
        let error = ask(|_, _, _| std::panic::panic_any(Worse)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
