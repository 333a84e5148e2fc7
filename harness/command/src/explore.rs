//! `evenkeel explore`: stateright's Explorer on one slice.

use super::check::{AnySlice, Told};
use super::output::{print, print_json};
use super::signal::Ends;
use super::{Failure, Format, Outcome};
use serde_json::json;
use stateright::{Model, Property};
use std::net::{Ipv4Addr, TcpListener};

/// Walk through a small world step by step in a web browser (stateright's Explorer).
///
/// Each state lists the actions that may happen next, and each action the world after it. States
/// are computed when they are asked for. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  evenkeel explore one-member --port 3000")]
pub(super) struct Args {
    /// The slice to walk through.
    slice: String,
    /// The TCP port to serve on, on this machine only; 0 takes any that is free.
    #[arg(long, default_value_t = 3000)]
    port: u16,
}

pub(super) fn run(args: &Args, format: Format) -> Result<Outcome, Failure> {
    let slice = AnySlice::named(std::slice::from_ref(&args.slice))?.remove(0);
    // The Explorer panics where it cannot listen.
    let taken = |error| {
        let sentence = "stop what listens there, or choose another with --port";
        Failure::World(format!("cannot listen on port {}: {error}; {sentence}", args.port))
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).map_err(taken)?;
    let address = listener.local_addr()?;
    drop(listener);
    let url = format!("http://localhost:{}", address.port());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut ends = Ends::listen()?;
        match format {
            Format::Human => print(&format!("{} at {url} (Ctrl-C ends it)\n", args.slice))?,
            Format::Json => print_json(&json!({"url": url}))?,
        }
        // It serves until the process ends.
        std::thread::spawn(move || match slice {
            AnySlice::Group(slice) => drop(Shown(slice).checker().serve(address)),
            AnySlice::Requests(slice) => drop(Shown(slice).checker().serve(address)),
            AnySlice::Positions(slice) => drop(Shown(slice).checker().serve(address)),
            AnySlice::Turn(slice) => drop(Shown(slice).checker().serve(address)),
        });
        ends.wait().await;
        Ok(Outcome::Holds)
    })
}

/// The slice as the Explorer shows it: renamed in each step, ended by a violation.
struct Shown<S>(S);

impl<S: Told> Model for Shown<S> {
    type State = S::State;
    type Action = S::Action;

    fn init_states(&self) -> Vec<S::State> {
        self.0.init_states().iter().map(|state| self.0.canonical(state)).collect()
    }

    fn actions(&self, state: &S::State, actions: &mut Vec<S::Action>) {
        if self.0.broken(state).is_none() {
            self.0.actions(state, actions);
        }
    }

    fn next_state(&self, state: &S::State, action: S::Action) -> Option<S::State> {
        self.0.next_state(state, action).map(|after| self.0.canonical(&after))
    }

    fn format_action(&self, action: &S::Action) -> String {
        action.to_string()
    }

    fn format_step(&self, last: &S::State, action: S::Action) -> Option<String> {
        let after = self.next_state(last, action)?;
        Some(match self.0.told(&after) {
            Some(violation) => format!("{violation}\n{}", self.0.world(&after)),
            None => self.0.world(&after),
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("the rules hold", |shown: &Self, state: &S::State| {
                shown.0.broken(state).is_none()
            }),
            Property::sometimes("at rest again", |shown: &Self, state: &S::State| {
                shown.0.goal(state) && !shown.init_states().contains(state)
            }),
        ]
    }
}
