//! The names of a consumer's members on the wire: a UUID string for each handle (KIP-1082).

use evenkeel_spec::words::MemberId;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

/// The names made so far, and how to make more.
#[derive(Debug, Default)]
pub(crate) struct Members {
    names: Vec<StrBytes>,
    /// Makes the names reproducible, for replays; `None`: random ones.
    seed: Option<u64>,
}

impl Members {
    /// Names from this seed, or random ones.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self { names: Vec::new(), seed }
    }

    /// The name of a member.
    pub(crate) fn name(&mut self, member: MemberId) -> StrBytes {
        let index = member.0 as usize;
        while self.names.len() <= index {
            let number = self.names.len() as u64;
            let uuid = match self.seed {
                None => Uuid::new_v4(),
                Some(seed) => Uuid::from_u64_pair(seed, number),
            };
            self.names.push(StrBytes::from_string(uuid.to_string()));
        }
        self.names[index].clone()
    }
}
