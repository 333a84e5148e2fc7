//! The shipped machines of both ends of the group protocol under an adversary.

pub mod explore;
