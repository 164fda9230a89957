//! Attribute macros of dotmsg. Use them through the facade crate `dotmsg`.
