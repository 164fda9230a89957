//! Plans that broke a promise once: kept under `cases/`, and run for ever.
//!
//! A file is what `cargo xtask sim` wrote for a failing seed; its first lines say what it broke.

use std::path::Path;

use dotmsg_core::sim::{Plan, run_scripted};

#[test]
fn what_was_broken_once_is_not_again() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/cases");
    for entry in std::fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "plan") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let plan: Plan = text
            .parse()
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let (history, violations) = run_scripted(plan, None);
        assert!(
            violations.is_empty(),
            "{}: {violations:?}\n{}",
            file.display(),
            history.text(None)
        );
    }
}
