//! What servers run on: Java and the jars of Kafka, fetched by Maven, or else Docker.
//!
//! On Debian and its children, for root, what is missing is installed from the distribution. Jars are fetched once, into a
//! directory that is renamed when it is complete. Java comes before Docker: it starts in seconds, and a process takes every
//! signal.

use super::cannot;
use super::docker;
use super::kafka::{HOST, Places, Server, VERSION};
use super::node::Node;
use super::process::is_installed;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest Java that a broker runs on.
const OLDEST_JAVA: u32 = 17;
/// Where it comes from on Debian.
const JAVA_PACKAGE: &str = "openjdk-17-jre-headless";
/// What logs the broker's lines; without it they are dropped.
const LOG4J: &str = "2.25.3";
/// The heap of a node, in each way to run one. The suite leaves its topics: with 4,300 partitions 290 MiB were in use, and of half this heap
/// a full collection took half a second, 69 times in eight minutes.
pub(super) const HEAP: &str = "-Xmx1g";
/// Small, because several nodes share a machine with the tests; starts fast, because nothing here runs for long.
const JVM: &[&str] = &[
    HEAP,
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dlog4j2.level=warn",
];

/// What runs the nodes.
pub(super) enum Runner {
    Java(Java),
    Docker,
}

impl Runner {
    /// Where a node finds its files: in a container at places of its own.
    pub(super) fn places(&self, node: &Node) -> Places {
        match self {
            Self::Java(_) => Places {
                data: node.data().display().to_string(),
                bind: HOST,
            },
            Self::Docker => docker::places(),
        }
    }
}

/// Java with the jars of Kafka.
pub(super) struct Java {
    jars: PathBuf,
}

impl Java {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            jars: root.join(format!("kafka-{VERSION}")),
        }
    }

    /// The arguments of `java` for a class of Kafka.
    pub(super) fn arguments(&self, class: &str, args: &[String]) -> Vec<String> {
        let mut all: Vec<String> = JVM.iter().map(|&option| option.to_owned()).collect();
        all.extend([
            "-cp".to_owned(),
            format!("{}/*", self.jars.display()),
            class.to_owned(),
        ]);
        all.extend_from_slice(args);
        all
    }

    /// Runs a tool of Kafka to its end.
    ///
    /// # Errors
    /// When it does not succeed, with what it said.
    pub(super) fn run(&self, class: &str, args: &[String]) -> Result<(), String> {
        let output = Command::new("java")
            .args(self.arguments(class, args))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot start `java`: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(format!(
            "{class} ended with {}:\n{}",
            output.status,
            String::from_utf8_lossy(&said).trim_end()
        ))
    }
}

/// Installs what is missing for a server, and says what runs it.
///
/// # Errors
/// When something is missing and cannot be installed, with the remedy.
pub(super) fn provide(root: &Path, server: &Server) -> Result<Runner, String> {
    let java = Java::new(root);
    let has_jars = java.jars.is_dir();
    let missing = missing(!has_jars, server.is_secure);
    if !missing.is_empty() {
        if takes_docker() {
            return docker::suits(server).map(|()| Runner::Docker);
        }
        install(&missing)?;
    }
    check_java(installed_java())?;
    if !has_jars {
        fetch(root, &java.jars)?;
    }
    Ok(Runner::Java(java))
}

/// Whether a server can run here: one that wants Java cannot where there is Docker alone.
///
/// # Errors
/// What it needs.
pub(super) fn suits(root: &Path, server: &Server) -> Result<(), String> {
    let has_jars = Java::new(root).jars.is_dir();
    match !missing(!has_jars, server.is_secure).is_empty() && takes_docker() {
        true => docker::suits(server),
        false => Ok(()),
    }
}

/// Where nothing can be installed, a container has to do.
fn takes_docker() -> bool {
    !is_debian_root() && is_installed("docker")
}

/// The Debian packages of the programs that are not there.
fn missing(needs_maven: bool, needs_openssl: bool) -> Vec<&'static str> {
    [
        // macOS has a `java` that only says that there is none.
        (installed_java().is_none(), JAVA_PACKAGE),
        (needs_maven && !is_installed("mvn"), "maven"),
        (needs_openssl && !is_installed("openssl"), "openssl"),
    ]
    .into_iter()
    .filter_map(|(is_missing, package)| is_missing.then_some(package))
    .collect()
}

fn is_debian_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    is_installed("apt-get") && id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

fn install(packages: &[&str]) -> Result<(), String> {
    let names = packages.join(" ");
    if !is_debian_root() {
        return Err(format!(
            "servers for tests need Java {OLDEST_JAVA} and Maven, or Docker. On Debian: `apt-get install {names}`. \
             `cargo xtask test --offline` needs no server"
        ));
    }
    println!("installing {names}");
    apt(&["update", "-q"])?;
    let mut args = vec!["install", "-q", "-y", "--no-install-recommends"];
    args.extend(packages);
    apt(&args)
}

fn apt(args: &[&str]) -> Result<(), String> {
    let shown = format!("apt-get {}", args.join(" "));
    println!("$ {shown}");
    let output = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "`{shown}` ended with {}:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        )),
    }
}

/// The version of `java`, if there is one.
fn installed_java() -> Option<u32> {
    let output = Command::new("java")
        .arg("-version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    java_version(&String::from_utf8_lossy(&output.stderr))
}

fn check_java(version: Option<u32>) -> Result<(), String> {
    match version {
        Some(version) if version >= OLDEST_JAVA => Ok(()),
        Some(version) => Err(format!(
            "`java` is version {version}, Kafka {VERSION} needs {OLDEST_JAVA} or newer; on Debian: \
             `apt-get install {JAVA_PACKAGE}`"
        )),
        None => Err("`java -version` names no version".to_owned()),
    }
}

/// The first number of `version "17.0.15"`; `1.8.0` is 8.
fn java_version(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("version \"")?;
    let rest = rest.strip_prefix("1.").unwrap_or(rest);
    let digits = rest.find(|sign: char| !sign.is_ascii_digit())?;
    rest[..digits].parse().ok()
}

fn fetch(root: &Path, jars: &Path) -> Result<(), String> {
    println!("fetching Kafka {VERSION}, 54 MB, from Maven Central");
    let partial = root.join("kafka.partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial).map_err(cannot("remove", &partial))?;
    }
    let pom = root.join("pom.xml");
    std::fs::write(&pom, project()).map_err(cannot("write", &pom))?;
    let output = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(&pom)
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", partial.display()))
        .arg("-DincludeScope=runtime")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start `mvn`: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "`mvn dependency:copy-dependencies` ended with {}:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout).trim_end()
        ));
    }
    std::fs::rename(&partial, jars).map_err(cannot("rename", &partial))
}

/// A Maven project that depends on the broker, its tools and what logs.
fn project() -> String {
    let dependency = |group: &str, name: &str, version: &str| {
        format!(
            "<dependency><groupId>org.apache.{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        )
    };
    let dependencies = [
        dependency("kafka", "kafka_2.13", VERSION),
        dependency("kafka", "kafka-tools", VERSION),
        dependency("logging.log4j", "log4j-slf4j-impl", LOG4J),
    ]
    .concat();
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>dotmsg</groupId><artifactId>services</artifactId>\
         <version>1</version><packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::{HEAP, Java, check_java, java_version, project};
    use std::path::Path;

    #[test]
    fn the_version_of_java_is_its_first_number() {
        assert_eq!(
            java_version("openjdk version \"17.0.15\" 2025-04-15"),
            Some(17)
        );
        assert_eq!(java_version("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(java_version("java version \"1.8.0_202\""), Some(8));
        assert_eq!(java_version("The operation couldn't be completed"), None);
    }

    #[test]
    fn a_java_that_is_too_old_is_named_with_the_remedy() {
        assert_eq!(check_java(Some(21)), Ok(()));
        let error = check_java(Some(11)).unwrap_err();
        assert!(error.contains("version 11"), "{error}");
        assert!(error.contains("openjdk-17"), "{error}");
        assert!(check_java(None).is_err());
    }

    #[test]
    fn options_of_java_stand_before_the_class() {
        let args = Java::new(Path::new("/s")).arguments("kafka.Kafka", &["p".to_owned()]);
        let class = args.iter().position(|arg| arg == "kafka.Kafka").unwrap();
        assert_eq!(args[class - 1], "/s/kafka-4.3.1/*");
        assert_eq!(args[class + 1..], ["p"]);
        assert_eq!(args[0], HEAP);
    }

    #[test]
    fn broker_and_tools_have_one_version() {
        let text = project();
        assert_eq!(text.matches("<version>4.3.1</version>").count(), 2);
        assert_eq!(text.matches("<dependency>").count(), 3);
    }
}
