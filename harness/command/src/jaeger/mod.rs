//! `--jaeger`: the Jaeger UI in this process, with the spans of this run.
//!
//! Decides where it listens and how long it stays: on this machine only, until a signal after the
//! job is done. Spans reach it as they would reach any other Jaeger, by OTLP over HTTP on the same
//! port, so that other processes may send theirs too. The page is the real one, from the crate
//! `otlp-embedded`; what it asks is answered here, since that crate knows neither searches by tag
//! or time, nor the status and kind of a span, and hides traces whose root is missing.

mod api;
mod otlp;
mod search;
mod store;

use super::Failure;
use super::output::complain;
use super::signal::Ends;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use store::Store;
use tokio::runtime::{Builder, Runtime};

/// A running Jaeger.
#[derive(Debug)]
pub(super) struct Jaeger {
    address: SocketAddr,
}

impl Jaeger {
    /// Listens on this port, 0 for any, and serves on a thread of its own.
    ///
    /// # Errors
    /// The port is taken, or there is no thread for it.
    pub(super) fn start(port: u16) -> Result<Self, Failure> {
        let world = |error: std::io::Error| {
            Failure::World(format!("--jaeger={port}: {error}; choose another one by --jaeger=PORT"))
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(world)?;
        listener.set_nonblocking(true).map_err(world)?;
        let address = listener.local_addr().map_err(world)?;
        let runtime = runtime().map_err(world)?;
        let store = Arc::new(Mutex::new(Store::default()));
        thread::Builder::new()
            .name("jaeger".into())
            .spawn(move || serve(&runtime, listener, store))
            .map_err(world)?;
        let jaeger = Self { address };
        complain(&format_args!("Jaeger is up: {}", jaeger.url()));
        Ok(jaeger)
    }

    /// Where spans are to be posted, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it.
    pub(super) fn url(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// Stays until SIGINT or SIGTERM.
    ///
    /// # Errors
    /// Signals cannot be listened to.
    pub(super) fn stay(&self) -> Result<(), Failure> {
        complain(&format_args!("the job is done; Jaeger stays at {} until Ctrl-C", self.url()));
        runtime()?.block_on(async {
            Ends::listen()?.wait().await;
            Ok(())
        })
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn serve(runtime: &Runtime, listener: TcpListener, store: Arc<Mutex<Store>>) {
    let served = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        axum::serve(listener, api::router(store)).await
    });
    if let Err(error) = served {
        complain(&format_args!("Jaeger has ended: {error}"));
    }
}
