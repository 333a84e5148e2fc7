//! The `evenkeel` command. What it does is in the library's `command`.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel_harness::command::main()
}
