//! Where the files of the tests' crate are, for what is shared with it.

use std::path::Path;

/// The folder of the tests' crate, with the poms of the peers.
pub(crate) fn tests_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the tests' folder")
}
