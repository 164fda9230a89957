//! The likely mistakes, each with the compiler's words for it: they name the argument at fault.
//!
//! The words are those of the toolchain in `rust-toolchain.toml`. After a change that is meant:
//! `TRYBUILD=overwrite cargo test --test compile_fail`, then read the difference.

#[test]
fn mistakes_name_the_argument_at_fault() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
