//! The client against the test broker and worse peers: in memory and under paused time where
//! nothing else is said.

mod assign;
mod callbacks;
mod calls;
mod cancel;
mod death;
mod diagnose;
mod error_table;
mod errors;
mod faults;
mod group;
mod listeners;
mod liveness;
mod lookup;
mod outage;
mod overload;
mod pattern;
mod quiet;
mod requests;
mod sockets;
mod spans;
mod strict;
mod stubborn;
mod support;
mod truncation;
mod untaken;
