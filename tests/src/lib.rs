//! The meetings of evenkeel's parts, run in CI.
