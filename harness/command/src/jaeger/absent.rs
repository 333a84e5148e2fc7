//! `--jaeger` where the command was built without it.

use super::Failure;

/// There is none.
#[derive(Debug)]
pub(super) enum Jaeger {}

impl Jaeger {
    /// # Errors
    /// Always: how to build it in.
    pub(super) fn start(_port: u16) -> Result<Self, Failure> {
        Err(Failure::Usage(
            "--jaeger is not built in; build with `cargo run --release --features jaeger -- …`, \
             which needs protoc (Debian: protobuf-compiler), or run Jaeger elsewhere and set \
             OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318"
                .into(),
        ))
    }

    pub(super) fn url(&self) -> String {
        match *self {}
    }

    pub(super) fn stay(&self) -> Result<(), Failure> {
        match *self {}
    }
}
