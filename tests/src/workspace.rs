//! Where things are: the repository's root and the folder for what tests build and fetch.

use std::path::{Path, PathBuf};

/// The repository's root: the folder above this crate.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in a folder of the root")
}

/// The folder of this crate, with the poms, lock files and sources of the peers.
#[must_use]
pub fn tests_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Cargo's target directory: where the running test binary was built.
///
/// # Panics
/// When the running binary does not lie in a target directory, as it always does under cargo.
#[must_use]
pub fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("the running test has a path");
    let deps = exe.parent().expect("the running test lies in a folder");
    let profile = if deps.ends_with("deps") { deps.parent() } else { Some(deps) };
    profile.and_then(Path::parent).expect("target/<profile>/deps").to_path_buf()
}
