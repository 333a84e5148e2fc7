//! Bytes to and from brokers: how to connect, and one task a connection.

pub(crate) mod connection;
pub(crate) mod last;
pub(crate) mod transport;
