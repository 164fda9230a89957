//! The task runner of the workspace: `cargo xtask`.

fn main() {}
