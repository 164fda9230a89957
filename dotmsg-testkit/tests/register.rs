//! `docs/conformance.md` lists the cases as the register has them.
//!
//! `DOTMSG_BLESS=1 cargo test -p dotmsg-testkit --test register` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use dotmsg_testkit::{CASES, Case};

const HEAD: &str = "\
# Conformance

The cases that every backend must pass ([dotmsg-testkit](../dotmsg-testkit/src/lib.rs)), by the guarantee that they show; one
that shows two is listed twice. A case runs where the backend declares what the case needs, and a stronger backend skips
none; the needs that begin with `No`, and `SingleMember`, select the tests that what is denied is refused, and of
`LaterStays` and `EarlierStays` one is met. Each case opens with the sentence that it tests: `dotmsg-testkit/src/cases/<theme>.rs`.

This file is written by a test: `DOTMSG_BLESS=1 cargo test -p dotmsg-testkit --test register`.
";

fn rendered() -> String {
    let mut by_guarantee: BTreeMap<String, Vec<&Case>> = BTreeMap::new();
    for case in CASES {
        for guarantee in case.guarantees {
            by_guarantee
                .entry(guarantee.to_string())
                .or_default()
                .push(case);
        }
    }
    let mut page = HEAD.to_owned();
    for (guarantee, cases) in by_guarantee {
        let _ = write!(page, "\n## {guarantee}\n\n| Case | Needs |\n|---|---|\n");
        for case in cases {
            let needs: Vec<String> = case.needs.iter().map(|need| format!("{need:?}")).collect();
            let _ = writeln!(
                page,
                "| `{}::{}` | {} |",
                case.theme,
                case.name,
                needs.join(", ")
            );
        }
    }
    page
}

#[test]
fn the_page_lists_every_case() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    if std::env::var_os("DOTMSG_BLESS").is_some() {
        std::fs::write(&path, rendered()).expect("the page is written");
    }
    let page = std::fs::read_to_string(&path).expect("docs/conformance.md is there");
    assert!(
        page == rendered(),
        "docs/conformance.md is not what the register says: DOTMSG_BLESS=1 cargo test -p dotmsg-testkit --test register"
    );
}
