//! The words of the protocol: ids, epochs, messages, error codes, timers and config keys.

pub mod config;
pub mod error_code;
pub mod ids;
pub mod message;
pub mod timer;

pub use config::{ConfigKey, Unit};
pub use error_code::ErrorCode;
pub use ids::{
    Epoch, GroupId, LeaderEpoch, MemberId, NodeId, Offset, Partitions, TopicId, TopicIdPartition,
    TopicName, TopicPartition,
};
pub use message::{
    Assignor, Committed, Heartbeat, HeartbeatAnswer, HeartbeatEpoch, OffsetCommit, OffsetFetch,
    OffsetFetched, OffsetsCommitted, Owner, Pattern, Subscription, Topic, Topics,
};
pub use timer::{BackoffKind, Step, Timer};
