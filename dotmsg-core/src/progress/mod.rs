//! Progress of one source partition: what is settled, and the record that tells the next owner.
//!
//! Handlers finish out of order; a broker that is read by offset wants one number. [`Tracker`] turns completions into
//! a *watermark* (every offset below it is settled) and the list of what is unsettled above it, the [`ResumeMap`].
//! Both travel, with the [`Names`] of the away heads, in the [`PositionRecord`]: one atomic value per
//! (group, topic, source partition), which is all that a new owner knows.
//!
//! Everything here is a pure state machine: no clock, no randomness, no IO. The shells around it read and write the record.
//!
//! What must stay true:
//! - the watermark never passes unsettled work and never moves back within one tracker;
//! - what a record calls settled is settled: when in doubt (a cut, an unknown offset) an offset counts as unsettled,
//!   which costs a redelivery; the opposite costs a message;
//! - names and map are cut together: a name whose origin counts as unsettled again must go, or the message runs twice at once;
//! - no input makes [`PositionRecord::decode`] panic or allocate out of proportion.

mod crash;
mod founding;
mod names;
mod record;
mod resume;
#[cfg(test)]
mod tests;
mod tracker;
mod wire;

pub(crate) use crash::SlowStart;
pub use crash::{CrashCount, CrashLoopPolicy, Mode, Noted};
pub use founding::{Absence, Census, Evidence, Founding, Witness};
pub use names::{Name, Names, Origin, TierId};
pub use record::{DoesNotFit, Encoded, FORMAT, LogIdentity, PositionRecord};
pub use resume::{Cursor, ResumeMap};
pub use tracker::{Seq, Tracker};
pub use wire::RecordError;
