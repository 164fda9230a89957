//! The command `dotmsg`: the library with a configuration file and no handlers.

use std::process::ExitCode;

fn main() -> ExitCode {
    dotmsg_cli::main(std::env::args_os())
}
