//! Who may commit and fetch offsets, and at which epoch (`OffsetCommit`, `OffsetFetch`).
//!
//! Whether a topic exists is not decided here: Kafka's request handler sorts unknown topics out
//! before the coordinator sees the request (`KafkaApis`).

use crate::current_assignment::CurrentAssignment;
use crate::{Config, Group, Record, Step};
use evenkeel_spec::words::{
    Epoch, ErrorCode, OffsetCommit, OffsetFetch, OffsetFetched, OffsetsCommitted, Owner,
    TopicIdPartition,
};
use std::collections::BTreeMap;

impl Group {
    /// Commits offsets.
    ///
    /// At the member's epoch nothing more is asked, not even that it owns the partition. At an
    /// older one every partition must have been granted at that epoch or before (KIP-1251), else
    /// the whole request fails. Commits arm no timer.
    ///
    /// Errors: `GROUP_ID_NOT_FOUND` for an owner in no group; `UNKNOWN_MEMBER_ID` for an unknown
    /// one, and without an owner while there are members; `STALE_MEMBER_EPOCH`. Per partition:
    /// `OFFSET_METADATA_TOO_LARGE`.
    pub fn on_offset_commit(
        &mut self,
        config: &Config,
        request: &OffsetCommit,
    ) -> Step<OffsetsCommitted> {
        let commits = match self.committer(config, request.owner.as_ref()) {
            Ok(commits) => commits,
            Err(code) => return Step::answered(Err(code)),
        };
        let mut results = BTreeMap::new();
        for (&at, committed) in &request.offsets {
            let too_large = committed.metadata.len() > config.offset_metadata_max as usize
                && committed.metadata.encode_utf16().count() > config.offset_metadata_max as usize;
            if too_large {
                results.insert(at, Err(ErrorCode::OffsetMetadataTooLarge));
            } else if commits.permits(at) {
                results.insert(at, Ok(()));
            } else {
                return Step::answered(Err(ErrorCode::StaleMemberEpoch));
            }
        }
        let mut step = Step::answered(());
        for (&at, committed) in &request.offsets {
            if results[&at].is_ok() {
                self.append(&mut step, Record::Offset(at, committed.clone()));
            }
        }
        step.with_answer(Ok(results))
    }

    /// Tells committed offsets. An owner must be a member, at exactly its epoch.
    ///
    /// Errors: `UNKNOWN_MEMBER_ID`, `STALE_MEMBER_EPOCH`. A group that does not exist is no error:
    /// it has no offsets.
    pub fn on_offset_fetch(&self, request: &OffsetFetch) -> OffsetFetched {
        if let (Some(owner), Some(_)) = (&request.owner, self.epoch) {
            let member = self.members.get(&owner.member).ok_or(ErrorCode::UnknownMemberId)?;
            if member.current.as_ref().is_none_or(|current| current.epoch != owner.epoch) {
                return Err(ErrorCode::StaleMemberEpoch);
            }
        }
        Ok(match &request.partitions {
            Some(partitions) => {
                partitions.iter().map(|at| (*at, self.offsets.get(at).cloned())).collect()
            }
            None => self.offsets.iter().map(|(at, c)| (*at, Some(c.clone()))).collect(),
        })
    }

    fn committer(
        &self,
        config: &Config,
        owner: Option<&Owner>,
    ) -> Result<Committer<'_>, ErrorCode> {
        if seeded!(config, CommitUnfenced) {
            return Ok(Committer::Anybody);
        }
        let Some(owner) = owner else {
            let is_empty = self.members.is_empty();
            return if is_empty { Ok(Committer::Anybody) } else { Err(ErrorCode::UnknownMemberId) };
        };
        if self.epoch.is_none() && self.offsets.is_empty() {
            return Err(ErrorCode::GroupIdNotFound);
        }
        let member = self.members.get(&owner.member).and_then(|member| member.current.as_ref());
        let current = member.ok_or(ErrorCode::UnknownMemberId)?;
        if owner.epoch == current.epoch {
            Ok(Committer::Anybody)
        } else if owner.epoch > current.epoch || seeded!(config, CommitStrictEpoch) {
            Err(ErrorCode::StaleMemberEpoch)
        } else {
            Ok(Committer::Earlier(current, owner.epoch))
        }
    }
}

/// O5, O7: what a commit is held against.
enum Committer<'a> {
    /// Nothing: it is at the member's epoch, or the group has no members.
    Anybody,
    /// What the member was granted at this epoch or before.
    Earlier(&'a CurrentAssignment, Epoch),
}

impl Committer<'_> {
    fn permits(&self, at: TopicIdPartition) -> bool {
        match self {
            Self::Anybody => true,
            Self::Earlier(current, epoch) => {
                let granted =
                    current.assigned.get(&at).or_else(|| current.pending_revocation.get(&at));
                granted.is_some_and(|granted| granted <= epoch)
            }
        }
    }
}
