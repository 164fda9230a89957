//! Contracts, runtime, middleware and reference log of dotmsg.
