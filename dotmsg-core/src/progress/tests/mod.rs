//! Tests of progress: each state machine against a naive model, and the named cases.

mod crash;
mod founding;
mod record;
mod resume;
mod tracker;
