//! Moving the position of a group that is stopped, and taking back what its retry tiers have lost.
//!
//! A position that does not fit the log any more stops its route: to go on from a guess would lose or repeat messages unheard
//! of. [`Reset`] is how a person says where to go on. It is a takeover like any other: it joins the group, so that it is
//! refused while a member runs, and writes each record back under the next epoch, confirmed.
//!
//! Heads that are away, waiting in a tier, keep waiting there as long as their messages lie before the new position. One
//! that its tier has lost is taken up again where it was first read. If that is gone too, the message is lost to the group,
//! and the reset happens only when that is said to be accepted.
//!
//! - `options`, `report`: what is asked for, and what came of it;
//! - `plan`: what becomes of one record, without IO;
//! - `heads`: which of the named heads are still in their tiers;
//! - `run`: reading, planning all, then writing.
//!
//! What must stay true: nothing is written before every partition is planned; a message leaves the group's care only
//! under [`Reset::drop_lost_heads`], and then it is in the report.

mod heads;
mod options;
mod plan;
mod report;
mod run;

pub use options::Reset;
pub use report::{HeadFate, PartitionReset, ResetHead, ResetReport};
