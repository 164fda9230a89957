//! The cases, a file per theme. Each is a short async function whose doc sentence is the promise that it shows; the register
//! (`register.rs`) says what it needs. `publish`, `read`, `assignment`, `progress`, `admin`, `retention` and most of `sharing`
//! speak to the contract itself, the others run whole apps on the backend.

pub(crate) mod admin;
pub(crate) mod assignment;
pub(crate) mod crash;
pub(crate) mod dead_letters;
pub(crate) mod exactly_once;
pub(crate) mod limits;
pub(crate) mod order;
pub(crate) mod progress;
pub(crate) mod publish;
pub(crate) mod read;
pub(crate) mod rebalance;
pub(crate) mod refusal;
pub(crate) mod replay;
pub(crate) mod restart;
pub(crate) mod retention;
pub(crate) mod retry;
pub(crate) mod sharing;
pub(crate) mod shutdown;
