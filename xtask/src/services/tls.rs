//! One CA for every server, made once by `openssl`, and another one that nobody trusts.
//!
//! The keys never leave the target directory and sign nothing but 127.0.0.1 and `localhost`. All are made in a directory
//! that is renamed when it is complete, so that half of it is never taken for the whole.

use super::cannot;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Below the directory of all servers.
pub(super) const DIRECTORY: &str = "tls";
/// The certificate of the CA that signs servers.
pub(super) const CA: &str = "ca.pem";
/// The certificate of a CA that signed nothing: a client that trusts this one alone must refuse every server.
pub(super) const OTHER_CA: &str = "other-ca.pem";
/// The certificate and key of a broker in one file, as Kafka wants them.
pub(super) const KEY_STORE: &str = "server.both";
/// Until they run out; `cargo clean` or the removal of the directory makes new ones.
const DAYS: &str = "3650";

/// Makes the certificates unless they are there, and returns their directory.
///
/// # Errors
/// When `openssl` fails or a file cannot be written.
pub(super) fn provide(root: &Path) -> Result<String, String> {
    let complete = root.join(DIRECTORY);
    if !complete.is_dir() {
        let partial = root.join("tls.partial");
        if partial.exists() {
            std::fs::remove_dir_all(&partial).map_err(cannot("remove", &partial))?;
        }
        std::fs::create_dir_all(&partial).map_err(cannot("make", &partial))?;
        make(&partial)?;
        std::fs::rename(&partial, &complete).map_err(cannot("rename", &partial))?;
    }
    Ok(complete.display().to_string())
}

fn make(directory: &Path) -> Result<(), String> {
    authority(directory, "ca")?;
    authority(directory, "other-ca")?;
    openssl(directory, &server_arguments())?;
    // A copy of the key's file is as private as the key is.
    let [key, certificate, both] =
        ["server.key", "server.pem", KEY_STORE].map(|name| directory.join(name));
    std::fs::copy(&key, &both).map_err(cannot("copy", &key))?;
    let certificate = std::fs::read(&certificate).map_err(cannot("read", &certificate))?;
    std::fs::File::options()
        .append(true)
        .open(&both)
        .and_then(|mut both| both.write_all(&certificate))
        .map_err(cannot("write", &both))
}

fn authority(directory: &Path, name: &str) -> Result<(), String> {
    let subject = format!("/CN=dotmsg test {name}");
    let [key, certificate] = [format!("{name}.key"), format!("{name}.pem")];
    let args = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        DAYS,
        "-subj",
        &subject,
        "-keyout",
        &key,
        "-out",
        &certificate,
    ];
    openssl(directory, &args)
}

fn server_arguments() -> [&'static str; 23] {
    [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        DAYS,
        "-subj",
        "/CN=localhost",
        "-CA",
        CA,
        "-CAkey",
        "ca.key",
        "-keyout",
        "server.key",
        "-out",
        "server.pem",
        "-addext",
        "basicConstraints=CA:FALSE",
        "-addext",
        "extendedKeyUsage=serverAuth",
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
    ]
}

fn openssl(directory: &Path, args: &[&str]) -> Result<(), String> {
    let output = Command::new("openssl")
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start `openssl`: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "`openssl {}` ended with {}: {}",
            args.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
