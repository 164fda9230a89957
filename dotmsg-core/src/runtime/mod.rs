//! The runtime of one route: source → lanes → service → settlement → progress.

mod lanes;
mod permits;
mod ready;
mod ticket;
mod worker;
