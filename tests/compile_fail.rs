//! The likely mistakes, each with the compiler's words for it: they name the argument at fault.
//!
//! The words are those of the toolchain in `rust-toolchain.toml`. After a change that is meant:
//! `TRYBUILD=overwrite cargo test --all-features --test compile_fail`, then read the difference.

#[test]
fn mistakes_name_the_argument_at_fault() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    // The compiler writes the path of a trait only when a crate of the build has another one of its name, as those under the
    // feature `kafka` do.
    if cfg!(feature = "kafka") {
        cases.compile_fail("tests/ui_all/*.rs");
    }
}
