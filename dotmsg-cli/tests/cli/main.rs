//! The command over a log in a temporary directory: the real binary, and a service that has the commands over its own app.

mod desk;
mod messages;
mod mute;
mod routes;
mod session;
mod support;
