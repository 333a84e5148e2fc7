//! What the Kafka group protocol is: its words and its rules. No code of ours is used here.
//!
//! [`words`] are what members and coordinator say to each other, without wire versions and without
//! sentinels. [`rules`] are what an onlooker may see happen. The chapters beside this crate
//! (`spec/*.md`) say the same in prose, with tagged sentences that code and tests cite.

pub mod rules;
pub mod words;
