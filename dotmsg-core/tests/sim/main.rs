//! The simulation: that it is the same in every process, that it finds what is broken, and what it has found.

mod cases;
mod own;
mod program;
mod seeds;
