//! The `evenkeel` command. What it does is in the library's `command`.

use std::process::ExitCode;

/// The explorer makes and drops millions of small maps: a quarter of its time was the system's
/// allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    evenkeel_harness::command::main()
}
