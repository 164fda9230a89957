//! Links between the pages of the repository: each leads to a file that exists, and to a heading that it has.
//!
//! Pages are moved and headings reworded; a link that leads nowhere is found by readers only, and they do not say so. Links to other
//! hosts are not looked at, because the check must give the same answer without a network.

use crate::workspace::Workspace;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// All links that lead nowhere.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn dead(workspace: &Workspace) -> Result<Vec<String>, String> {
    let mut dead = Vec::new();
    for page in workspace.files(&["md"])? {
        let text = workspace.read(&page)?;
        for link in links_of(&text) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                path => resolved(&page, path),
            };
            let is_page = target
                .extension()
                .is_some_and(|extension| extension == "md");
            let why = if !workspace.root.join(&target).exists() {
                "no such file"
            } else if !anchor.is_empty()
                && is_page
                && !anchors_of(&workspace.read(&target)?).contains(anchor)
            {
                "no such heading"
            } else {
                continue;
            };
            dead.push(format!("{}: {link}: {why}", page.display()));
        }
    }
    Ok(dead)
}

/// The targets of inline links, without those of other hosts and those in code.
fn links_of(page: &str) -> Vec<&str> {
    let mut links = Vec::new();
    for line in outside_of_code(page) {
        for (start, _) in line.match_indices("](") {
            let target = &line[start + 2..];
            let Some(end) = target.find(')') else {
                continue;
            };
            let target = &target[..end];
            if !target.contains("://") && !target.starts_with("mailto:") {
                links.push(target);
            }
        }
    }
    links
}

/// The lines of a page outside of its blocks of code.
fn outside_of_code(page: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    page.lines().filter(move |line| {
        in_block ^= line.starts_with("```");
        !in_block
    })
}

/// The path that a link of this page means, relative to the root.
fn resolved(page: &Path, link: &str) -> PathBuf {
    let mut path = page.parent().unwrap_or(Path::new("")).to_path_buf();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// The anchors of a page's headings, as the site that shows them makes them.
fn anchors_of(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in outside_of_code(page) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let anchor = anchor_of(heading.trim());
        let mut numbered = anchor.clone();
        for number in 1.. {
            if anchors.insert(numbered.clone()) {
                break;
            }
            numbered = format!("{anchor}-{number}");
        }
    }
    anchors
}

fn anchor_of(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|char| match char {
            ' ' => Some('-'),
            '-' | '_' => Some(char),
            char => char.is_alphanumeric().then_some(char),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_of_code() {
        let page = "See [a](a.md#b), [c](https://example.org).\n```\n[d](d.md)\n```\n[e](#f)";
        assert_eq!(links_of(page), ["a.md#b", "#f"]);
    }

    #[test]
    fn links_are_relative_to_their_page() {
        let page = Path::new("docs/how-to/a.md");
        assert_eq!(resolved(page, "../kafka.md"), Path::new("docs/kafka.md"));
        assert_eq!(resolved(page, "../../examples/x"), Path::new("examples/x"));
        assert_eq!(resolved(Path::new("README.md"), "docs"), Path::new("docs"));
    }

    #[test]
    fn anchors_are_those_of_headings() {
        let anchors = anchors_of(
            "# G1 No loss\n## What `x_y` is, and why\n```\n# no\n```\n## G1 no loss\n#no",
        );
        let expected = ["g1-no-loss", "g1-no-loss-1", "what-x_y-is-and-why"];
        assert_eq!(anchors.into_iter().collect::<Vec<_>>(), expected);
    }
}
