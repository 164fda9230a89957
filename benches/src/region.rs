//! The measured region: what runs inside is counted, nothing around it is.
//!
//! Callgrind starts switched off and is toggled by entering and leaving the one function here, so that building an
//! app and filling its queue, which run through the same code as the work itself, stay out of the figures.
//!
//! What must stay true: the function is never inlined, its name occurs in no other symbol (a second match would
//! switch the counting *off* one frame deeper), and its body is not in tail position, where a jump would leave the frame.

use std::hint::black_box;

/// The pattern that callgrind matches against symbol names, mangled or not.
pub(crate) const PATTERN: &str = "*bench_counted_region*";

/// Runs `body` as the measured region of this process.
#[inline(never)]
pub(crate) fn bench_counted_region<T>(body: impl FnOnce() -> T) -> T {
    black_box(body())
}
