//! How a member goes: it leaves, its session ends, it does not revoke in time, or the group is
//! deleted. No commit and no epoch plays a part: a leave is taken at any epoch.

use crate::current_assignment::MemberState;
use crate::group::FIRST_EPOCH;
use crate::{Config, Group, Order, Record, Step, Timer};
use evenkeel_spec::words::{ErrorCode, HeartbeatAnswer, MemberId, Topics};
use std::sync::Arc;

impl Group {
    /// A timer that was armed and not disarmed has fired. One that has nothing to do any more does
    /// nothing.
    pub fn on_timer(&mut self, config: &Config, topics: &Topics, timer: Timer) -> Step<()> {
        match timer {
            Timer::Session(member) if self.members.contains_key(&member) => {
                if seeded!(config, SessionTimeoutKeepsPartitions) {
                    self.haunt(member);
                }
                self.evict(topics, member)
            }
            Timer::Rebalance(member) if self.is_revoking(member) => self.evict(topics, member),
            Timer::Session(_) | Timer::Rebalance(_) => Step::answered(()),
            Timer::Assignment => {
                self.interval_running = false;
                Step::answered(())
            }
        }
    }

    /// Deletes the group and its offsets (`DeleteGroups`, key 42).
    ///
    /// Errors: `NON_EMPTY_GROUP` while it has members; `GROUP_ID_NOT_FOUND` when there is neither a
    /// group nor an offset.
    pub fn on_delete(&mut self) -> Step<Result<(), ErrorCode>> {
        if !self.members.is_empty() {
            return Step::answered(Err(ErrorCode::NonEmptyGroup));
        }
        if self.epoch.is_none() && self.offsets.is_empty() {
            return Step::answered(Err(ErrorCode::GroupIdNotFound));
        }
        let mut step = Step::answered(());
        for at in self.offsets.keys().copied().collect::<Vec<_>>() {
            self.append(&mut step, Record::OffsetRemoved(at));
        }
        if self.epoch.is_some() {
            self.append(&mut step, Record::TargetEpochRemoved);
            self.append(&mut step, Record::GroupRemoved);
            step.orders.push(Order::Disarm(Timer::Assignment));
        }
        *self = Self::default();
        step.with_answer(Ok(()))
    }

    pub(crate) fn on_leave(
        &mut self,
        config: &Config,
        topics: &Topics,
        member: MemberId,
    ) -> Step<Result<HeartbeatAnswer, ErrorCode>> {
        if self.epoch.is_none() {
            return Step::answered(Err(ErrorCode::GroupIdNotFound));
        }
        if !self.members.contains_key(&member) {
            return Step::answered(Err(ErrorCode::UnknownMemberId));
        }
        if seeded!(config, LeaveKeepsPartitions) {
            self.haunt(member);
        }
        let answer = HeartbeatAnswer { epoch: None, heartbeat_interval_ms: 0, assignment: None };
        self.evict(topics, member).with_answer(Ok(answer))
    }

    /// Removes a member: what it held is free at once, and the group epoch grows. The target is
    /// computed by the next heartbeat (`consumerGroupFenceMembers`).
    fn evict(&mut self, topics: &Topics, member: MemberId) -> Step<()> {
        let was_revoking = self.is_revoking(member);
        let mut step = Step::answered(());
        self.append(&mut step, Record::CurrentRemoved(member));
        self.append(&mut step, Record::TargetRemoved(member));
        self.append(&mut step, Record::MemberRemoved(member));
        let subscribed = self.subscribed_topics(topics);
        let topics =
            if subscribed == *self.topics { self.topics.clone() } else { Arc::new(subscribed) };
        let epoch = self.epoch.unwrap_or(FIRST_EPOCH).next();
        self.append(&mut step, Record::Group { epoch, topics });
        step.orders.push(Order::Disarm(Timer::Session(member)));
        if was_revoking {
            step.orders.push(Order::Disarm(Timer::Rebalance(member)));
        }
        step
    }

    fn is_revoking(&self, member: MemberId) -> bool {
        let current = self.members.get(&member).and_then(|member| member.current.as_ref());
        current.is_some_and(|current| current.state == MemberState::UnrevokedPartitions)
    }

    /// A seeded fault: what the member holds stays taken when it goes.
    #[cfg(feature = "mutants")]
    fn haunt(&mut self, member: MemberId) {
        let current = self.members.get(&member).and_then(|member| member.current.as_ref());
        let Some(current) = current else { return };
        let held = current.assigned.keys().chain(current.pending_revocation.keys());
        self.seeded.ghosts.extend(held);
    }

    #[cfg(not(feature = "mutants"))]
    fn haunt(&mut self, _member: MemberId) {}
}
