//! What a heartbeat does (`ConsumerGroupHeartbeat`, key 68): Kafka's
//! `GroupMetadataManager.consumerGroupHeartbeat`, in its order.
//!
//! Validate the request; find the group and the member; check the epoch; take over what the member
//! tells; raise the group epoch; compute a target; reconcile this member; arm timers; answer.

use crate::current_assignment::{CurrentAssignment, MemberState, Reconciliation};
use crate::group::{FIRST_EPOCH, MemberMetadata};
use crate::{Config, Group, Order, Record, Step, Timer};
use evenkeel_spec::words::{
    Assignor, Epoch, ErrorCode, Heartbeat, HeartbeatAnswer, HeartbeatEpoch, MemberId, Partitions,
    Topics,
};
use std::sync::Arc;

/// An answer to a heartbeat.
type Answer = Result<HeartbeatAnswer, ErrorCode>;

impl Group {
    /// A member joins, stays or leaves.
    ///
    /// Errors, none of which changes anything: `INVALID_REQUEST` and `UNSUPPORTED_ASSIGNOR` for what
    /// the request says; `GROUP_ID_NOT_FOUND` for a group that nobody has joined;
    /// `GROUP_MAX_SIZE_REACHED`; `UNKNOWN_MEMBER_ID`; `FENCED_MEMBER_EPOCH`.
    pub fn on_heartbeat(
        &mut self,
        config: &Config,
        topics: &Topics,
        request: &Heartbeat,
    ) -> Step<Answer> {
        if let Err(code) = validate(request) {
            return Step::answered(Err(code));
        }
        if request.epoch == HeartbeatEpoch::Leave {
            return self.on_leave(config, topics, request.member);
        }
        match self.admit(config, request) {
            Ok(()) => self.advance(config, topics, request),
            #[cfg(feature = "mutants")]
            Err(ErrorCode::UnknownMemberId) if seeded!(config, UnknownMemberTolerated) => {
                Step::answered(Ok(tolerated(config, request.epoch)))
            }
            Err(code) => Step::answered(Err(code)),
        }
    }

    /// Whether the group takes this heartbeat. A full group refuses a stranger at any epoch.
    fn admit(&self, config: &Config, request: &Heartbeat) -> Result<(), ErrorCode> {
        let stay = match request.epoch {
            HeartbeatEpoch::Stay(epoch) => Some(epoch),
            HeartbeatEpoch::Join | HeartbeatEpoch::Leave => None,
        };
        if self.epoch.is_none() && stay.is_some() {
            return Err(ErrorCode::GroupIdNotFound);
        }
        let Some(member) = self.members.get(&request.member) else {
            if self.members.len() >= config.max_size as usize {
                return Err(ErrorCode::GroupMaxSizeReached);
            }
            return if stay.is_some() { Err(ErrorCode::UnknownMemberId) } else { Ok(()) };
        };
        let Some(current) = &member.current else { return Ok(()) };
        if is_at_its_epoch(config, current, stay, request.owned.as_ref()) {
            Ok(())
        } else {
            Err(ErrorCode::FencedMemberEpoch)
        }
    }

    fn advance(&mut self, config: &Config, topics: &Topics, request: &Heartbeat) -> Step<Answer> {
        let mut step = Step::answered(());
        let subscription_changed = self.update_metadata(&mut step, request);
        // Without a look at the topics, Kafka takes the group's last subscription type, which does
        // not count a joiner that subscribes to nothing.
        let looks_at_topics = subscription_changed || !self.topics_compared;
        let joiner = self.members.get(&request.member).is_some_and(|m| m.current.is_none());
        let uncounted = (joiner && !looks_at_topics).then_some(request.member);
        if looks_at_topics {
            self.compare_topics(&mut step, topics, subscription_changed);
        }
        self.maybe_compute_target(&mut step, config, topics, uncounted);
        let changed = self.reconcile(&mut step, config, topics, request, subscription_changed);
        step.orders.push(Order::Arm(Timer::Session(request.member), config.session_timeout_ms));

        let current = self.current(request.member);
        let is_full = request.is_full() && !seeded!(config, FullRequestIgnored);
        let tells = request.epoch == HeartbeatEpoch::Join || is_full || changed;
        let answer = HeartbeatAnswer {
            epoch: Some(current.epoch),
            heartbeat_interval_ms: config.heartbeat_interval_ms,
            assignment: tells.then(|| current.assigned.keys().copied().collect()),
        };
        step.with_answer(Ok(answer))
    }

    /// Takes over what the member tells about itself. Whether its subscription is another one.
    fn update_metadata(&mut self, step: &mut Step<()>, request: &Heartbeat) -> bool {
        let known = self.members.get(&request.member).map(|member| member.metadata.clone());
        let is_new = known.is_none();
        let old = known.unwrap_or_default();
        let timeout_ms = request.rebalance_timeout_ms.unwrap_or(old.rebalance_timeout_ms);
        let subscription = request.subscription.as_ref().unwrap_or(&old.subscription);
        let assignor = request.assignor.as_ref().or(old.assignor.as_ref());
        let subscription_changed = *subscription != old.subscription;
        if is_new
            || subscription_changed
            || timeout_ms != old.rebalance_timeout_ms
            || assignor != old.assignor.as_ref()
        {
            let metadata = MemberMetadata {
                rebalance_timeout_ms: timeout_ms,
                subscription: subscription.clone(),
                assignor: assignor.cloned(),
            };
            self.append(step, Record::Member(request.member, Arc::new(metadata)));
        }
        subscription_changed
    }

    /// Raises the group epoch when a subscription, or a topic subscribed to, has changed. An
    /// assignor alone raises nothing (KAFKA-20434 is open in 4.3.1).
    fn compare_topics(&mut self, step: &mut Step<()>, topics: &Topics, subscription_changed: bool) {
        let subscribed = self.subscribed_topics(topics);
        let topics_changed = subscribed != *self.topics;
        if subscription_changed || topics_changed {
            let topics = if topics_changed { Arc::new(subscribed) } else { self.topics.clone() };
            let epoch = self.epoch.unwrap_or(FIRST_EPOCH).next();
            self.append(step, Record::Group { epoch, topics });
        }
        self.topics_compared = true;
    }

    /// Moves the member towards its target. Whether what it is assigned changed.
    fn reconcile(
        &mut self,
        step: &mut Step<()>,
        config: &Config,
        topics: &Topics,
        request: &Heartbeat,
        subscription_changed: bool,
    ) -> bool {
        let id = request.member;
        let target_epoch = self.assignment_epoch.unwrap_or(FIRST_EPOCH);
        let member = &self.members[&id];
        let before = member.current.clone();
        let is_done = before.as_ref().is_some_and(|c| c.is_reconciled_to(target_epoch));
        if is_done && !subscription_changed {
            return false;
        }
        let nothing = Partitions::new();
        let next = Reconciliation {
            current: before.as_deref(),
            target_epoch,
            target: self.target.get(&id).map_or(&nothing, |target| target),
            owned: request.owned.as_ref(),
            subscription: &member.metadata.subscription,
            subscription_changed: subscription_changed && !seeded!(config, RetainUnsubscribed),
            topics,
            held_by_other: |at| {
                !seeded!(config, GrantBeforeRelease) && self.is_held_by_other(id, at)
            },
            #[cfg(feature = "mutants")]
            mutant: config.mutant,
        }
        .next();
        let Some(next) = next else { return false };
        self.order_rebalance_timer(step, config, id, before.as_deref(), &next);
        #[cfg(feature = "mutants")]
        self.forget_reassigned(config, before.as_deref(), &next);
        let had = before.as_ref().map(|current| &current.assigned);
        let changed = had.map_or(!next.assigned.is_empty(), |had| *had != next.assigned);
        self.append(step, Record::Current(id, Arc::new(next)));
        changed
    }

    /// G4: armed anew by each change that leaves the member UNREVOKED, disarmed by one that does
    /// not.
    fn order_rebalance_timer(
        &self,
        step: &mut Step<()>,
        config: &Config,
        id: MemberId,
        before: Option<&CurrentAssignment>,
        next: &CurrentAssignment,
    ) {
        if next.state == MemberState::UnrevokedPartitions {
            if !seeded!(config, RebalanceTimerMissing) {
                let timeout_ms = self.members[&id].metadata.rebalance_timeout_ms;
                step.orders.push(Order::Arm(Timer::Rebalance(id), timeout_ms));
            }
        } else if before.is_some_and(|c| c.state == MemberState::UnrevokedPartitions) {
            step.orders.push(Order::Disarm(Timer::Rebalance(id)));
        }
    }

    fn current(&self, id: MemberId) -> &CurrentAssignment {
        let current = self.members.get(&id).and_then(|member| member.current.as_deref());
        current.expect("a member that was reconciled has a current assignment")
    }

    /// Seeds KAFKA-16147: the partition epoch of what returns from pending revocation is lost.
    #[cfg(feature = "mutants")]
    fn forget_reassigned(
        &mut self,
        config: &Config,
        before: Option<&CurrentAssignment>,
        next: &CurrentAssignment,
    ) {
        if !seeded!(config, DoubleAssignment) {
            return;
        }
        let Some(before) = before else { return };
        for at in before.assigned.keys().chain(before.pending_revocation.keys()) {
            self.seeded.forgotten.remove(at);
        }
        let returned = before.pending_revocation.keys().filter(|at| next.assigned.contains_key(at));
        self.seeded.forgotten.extend(returned);
    }
}

/// What a request must say, whoever sends it (`throwIfConsumerGroupHeartbeatRequestIsInvalid`): a
/// join tells its rebalance timeout (0 is one), its subscription (nothing is one) and that it owns
/// nothing; an assignor must exist, even on a leave.
fn validate(request: &Heartbeat) -> Result<(), ErrorCode> {
    if request.epoch == HeartbeatEpoch::Join {
        let owns_nothing = request.owned.as_ref().is_some_and(Partitions::is_empty);
        let tells_all = request.rebalance_timeout_ms.is_some() && request.subscription.is_some();
        if !owns_nothing || !tells_all {
            return Err(ErrorCode::InvalidRequest);
        }
    }
    match request.assignor {
        Some(Assignor::Other(_)) => Err(ErrorCode::UnsupportedAssignor),
        Some(Assignor::Uniform | Assignor::Range) | None => Ok(()),
    }
}

/// M11: a member speaks at its epoch, or it joins (again), or it has missed the answer that raised
/// its epoch: then it is at the previous one and owns nothing beyond what it is assigned.
fn is_at_its_epoch(
    config: &Config,
    current: &CurrentAssignment,
    stay: Option<Epoch>,
    owned: Option<&Partitions>,
) -> bool {
    let owns_assigned =
        || owned.is_some_and(|owned| owned.iter().all(|at| current.assigned.contains_key(at)));
    let Some(epoch) = stay else {
        return !seeded!(config, RejoinAtZeroRefused)
            || (current.previous_epoch.is_none() && owns_assigned());
    };
    if epoch == current.epoch {
        return true;
    }
    epoch < current.epoch
        && current.previous_epoch == Some(epoch)
        && !seeded!(config, NoPreviousEpochRetry)
        && owns_assigned()
}

/// The seeded answer to a member that does not exist.
#[cfg(feature = "mutants")]
fn tolerated(config: &Config, epoch: HeartbeatEpoch) -> HeartbeatAnswer {
    let epoch = match epoch {
        HeartbeatEpoch::Stay(epoch) => Some(epoch),
        HeartbeatEpoch::Join | HeartbeatEpoch::Leave => None,
    };
    let heartbeat_interval_ms = config.heartbeat_interval_ms;
    HeartbeatAnswer { epoch, heartbeat_interval_ms, assignment: None }
}
