//! How the application gets its next record: from a parked Fetch, once it knows its position.

use super::application::Order;
use super::{World, client_id};
use crate::replay::view::News;
use evenkeel_model::profiles::Profile;
use evenkeel_spec::words::{ErrorCode, TopicIdPartition};

/// How many parked fetches may be for nothing before a record is returned: one of them is outdated.
const FETCHES_MAX: usize = 3;

/// How often it is looked whether a consumer has asked again, milliseconds.
const AGAIN_MS: u64 = 10;

impl World<'_> {
    /// The next record comes for a poll that does not look any more, and is dropped then.
    pub(super) async fn miss(
        &mut self,
        i: usize,
        partition: TopicIdPartition,
        profile: &Profile,
    ) -> Result<(), &'static str> {
        self.member(i)?.order(Order::Miss)?;
        self.settle().await;
        self.hand_out(i, (partition, true), profile).await?;
        self.member(i)?.order(Order::Leave)
    }

    /// Answers the parked Fetch with one record. A Fetch from before the partition was taken lacks
    /// it or is outdated, and is answered for nothing: then the next one.
    pub(super) async fn hand_out(
        &mut self,
        i: usize,
        (partition, is_missed): (TopicIdPartition, bool),
        profile: &Profile,
    ) -> Result<(), &'static str> {
        for _ in 0..FETCHES_MAX {
            if self.links.fetching(i).is_none() {
                self.await_position(i, profile).await?;
            }
            let link = self.links.fetching(i).ok_or("nothing is being fetched")?;
            self.cluster.withhold_records(false);
            link.forward(false);
            self.quiet.come().await;
            self.cluster.withhold_records(true);
            self.settle().await;
            let ear = self.member(i)?.heard.ear();
            let is_it = |news: &News| matches!(news, News::Returned(p, _) if *p == partition);
            if is_missed && ear.has_missed || ear.news.iter().any(is_it) {
                return Ok(());
            }
        }
        Err("poll does not return the record")
    }

    /// Lets the backoff of a lookup that was refused pass: the consumer asks again. If what the trace
    /// holds back keeps it from its position all the same, the step cannot be taken here; if it does
    /// not even ask, it is wrong.
    async fn await_position(&mut self, i: usize, profile: &Profile) -> Result<(), &'static str> {
        let refused = self.refused_lookup(i).ok_or("nothing is being fetched")?;
        let asked = self.links.positions_asked(i);
        let latest = self.now() + 2 * profile.retry_backoff_max_ms;
        while self.links.fetching(i).is_none() && self.now() < latest {
            self.wait(latest.min(self.now() + AGAIN_MS)).await;
        }
        if self.links.fetching(i).is_some() {
            self.overdue = Some(format!("{refused}, and the clock is late by its backoff"));
            return Ok(());
        }
        let looks = self.member(i)?.lookup.is_some();
        if !looks && self.links.positions_asked(i) == asked {
            return Err("the consumer does not ask for its position again");
        }
        self.infeasible = Some(refused);
        Err("nothing is being fetched")
    }

    /// Why a consumer cannot know its position: the model has no lookups of positions, but a broker
    /// refuses one that overtakes the member's next epoch or the news of another coordinator.
    pub(super) fn refused_lookup(&self, i: usize) -> Option<String> {
        let refused =
            self.hooks.with(|hooked| hooked.lookups.get(&client_id(i)).copied().flatten());
        match refused? {
            code @ (ErrorCode::NotCoordinator | ErrorCode::StaleMemberEpoch) => {
                Some(format!("the lookup of c{i}'s position was refused: {}", code.name()))
            }
            _ => None,
        }
    }
}
