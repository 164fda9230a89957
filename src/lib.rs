//! One handler, any broker, the same guarantees.
