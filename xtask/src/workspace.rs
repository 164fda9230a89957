//! What the workspace consists of: packages, features, targets, dependencies, files.
//!
//! Read from `cargo metadata --no-deps` (needs no network) and from the tree itself, so that a new crate or file is
//! covered by every check without being listed anywhere.

use crate::cargo;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One package of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    /// Feature names without `default`, sorted.
    pub(crate) features: Vec<String>,
    /// Names of example targets.
    pub(crate) examples: Vec<String>,
    /// Dependencies that are in this workspace, as (name, is a dev-dependency).
    pub(crate) ours: Vec<(String, bool)>,
}

/// The workspace this program was built from.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

impl Workspace {
    /// Reads the workspace around this crate.
    ///
    /// # Errors
    /// When cargo fails or prints something unexpected.
    pub(crate) fn load() -> Result<Self, String> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here
            .parent()
            .ok_or("xtask has no parent directory")?
            .to_path_buf();
        let text = cargo::output(&root, &["metadata", "--format-version", "1", "--no-deps"])?;
        let metadata: Value =
            serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))?;
        let target = metadata["target_directory"]
            .as_str()
            .ok_or("cargo metadata: no target_directory")?;
        let mut packages: Vec<Package> = array(&metadata["packages"]).iter().map(package).collect();
        let names: Vec<String> = packages
            .iter()
            .map(|package| package.name.clone())
            .collect();
        for package in &mut packages {
            package.ours.retain(|(name, _)| names.contains(name));
        }
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            root,
            target: PathBuf::from(target),
            packages,
        })
    }

    /// The package of this name, if it exists already.
    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// Every tracked or trackable file with one of these extensions, relative to the root, sorted.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub(crate) fn files(&self, extensions: &[&str]) -> Result<Vec<PathBuf>, String> {
        let mut found = Vec::new();
        collect(&self.root, &self.root, extensions, &mut found)?;
        found.sort();
        Ok(found)
    }

    /// The text of a file given relative to the root.
    ///
    /// # Errors
    /// When it cannot be read as UTF-8.
    pub(crate) fn read(&self, file: &Path) -> Result<String, String> {
        std::fs::read_to_string(self.root.join(file))
            .map_err(|error| format!("cannot read {}: {error}", file.display()))
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn package(value: &Value) -> Package {
    let mut features: Vec<String> = value["features"]
        .as_object()
        .map(|map| {
            map.keys()
                .filter(|name| *name != "default")
                .cloned()
                .collect()
        })
        .unwrap_or_default();
    features.sort();
    let is_example = |target: &&Value| array(&target["kind"]).iter().any(|kind| kind == "example");
    Package {
        name: text(&value["name"]),
        features,
        examples: array(&value["targets"])
            .iter()
            .filter(is_example)
            .map(|target| text(&target["name"]))
            .collect(),
        ours: array(&value["dependencies"])
            .iter()
            .map(|dependency| (text(&dependency["name"]), dependency["kind"] == "dev"))
            .collect(),
    }
}

/// Build output, other checkouts and hidden directories are not the project; `.ci` and `.cargo` are.
fn is_ours(name: &str) -> bool {
    matches!(name, ".ci" | ".cargo") || !(name.starts_with('.') || matches!(name, "target" | "wt"))
}

fn collect(
    root: &Path,
    directory: &Path,
    extensions: &[&str],
    found: &mut Vec<PathBuf>,
) -> Result<(), String> {
    let shown = directory.display();
    let entries =
        std::fs::read_dir(directory).map_err(|error| format!("cannot list {shown}: {error}"))?;
    for entry in entries {
        let path = entry
            .map_err(|error| format!("cannot list {shown}: {error}"))?
            .path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if is_ours(&name) {
                collect(root, &path, extensions, found)?;
            }
        } else if path
            .extension()
            .is_some_and(|found| extensions.iter().any(|wanted| found == *wanted))
        {
            found.push(path.strip_prefix(root).unwrap_or(&path).to_path_buf());
        }
    }
    Ok(())
}
