//! Bytes that are hardly a configuration: variables that are no text, depth without end, marks of other systems.

use super::super::Config;
use super::{bill, config, refused};

#[test]
fn variables_that_are_no_text_are_refused_when_they_are_ours() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let text = |text: &str| OsString::from(text);
    let other = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let given = || config("backend.main.url = 'memory:'");
    let foreign = [
        (text("LS_COLORS"), other(b"\xff")),
        (other(b"\xfe"), text("x")),
    ];
    let resolved = given().env_os(foreign).resolve(&[bill()]);
    assert!(resolved.is_ok(), "{resolved:?}");
    let ours = [
        (text("DOTMSG__BACKEND__MAIN__URL"), other(b"log:secret\xff")),
        (text("dotmsg_profile"), other(b"\xff")),
    ];
    let errors = given().env_os(ours).resolve(&[bill()]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "2 errors
  environment variable DOTMSG__BACKEND__MAIN__URL: its name or value is not valid UTF-8
  environment variable dotmsg_profile: its name or value is not valid UTF-8"
    );
}

#[test]
fn text_of_any_depth_is_an_error_and_no_overflow() {
    let depth = 100_000;
    for text in [
        format!("a = {}", "[".repeat(depth)),
        format!("a = {}{}", "[".repeat(depth), "]".repeat(depth)),
        format!("a = {}", "{a=".repeat(depth)),
        format!("{} = 1", vec!["a"; depth].join(".")),
        format!("[{}]", vec!["a"; depth].join(".")),
    ] {
        let read = Config::from_toml("deep.toml", &text);
        let resolved = read.and_then(|config| config.resolve(&[bill()]));
        assert!(resolved.is_err());
    }
}

#[test]
fn a_byte_order_mark_and_line_ends_of_windows_are_taken() {
    let text = "\u{feff}backend.main.url = 'memory:'\r\n\r\n[routes.bill]\r\nconcurency = 1\r\n";
    refused(
        text,
        &[],
        &[bill()],
        "1 error
  dotmsg.toml:4: routes.bill.concurency: unknown key. Did you mean `concurrency`?",
    );
}
