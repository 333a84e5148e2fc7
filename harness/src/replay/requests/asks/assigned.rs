//! An application that assigns itself its partitions.

use super::{Again, Lived, Unasked, has, lost_wishes};
use evenkeel_model::requests::{Action, Own, State};
use evenkeel_spec::rules::requests::{Says, Urgency};

#[derive(Clone, Debug, Default)]
pub(super) struct Assigned {
    /// A commit was lost and is sent again; whether before the partitions are given up.
    lost_commit: Option<bool>,
    /// The partitions were given up once.
    has_ended: bool,
}

impl Lived for Assigned {
    fn act(&mut self, action: Action, before: &State) -> Result<Option<Again>, Unasked> {
        let is_ending =
            has(before, Says::Commit, Urgency::System) || self.lost_commit == Some(true);
        match action {
            Action::Ask(Own::Presence | Own::Owned | Own::Leave) => Err(Unasked::Membership),
            Action::Ask(Own::Offsets | Own::Fetch) if is_ending => Err(Unasked::Ending),
            Action::Ask(Own::Offsets) if has(before, Says::Nothing, Urgency::System) => {
                Err(Unasked::LookupTwice)
            }
            Action::Ask(own @ (Own::Commit | Own::Urgent)) => match self.lost_commit.take() {
                None => Ok(None),
                Some(is_urgent) if is_urgent == (own == Own::Urgent) => Ok(Some(Again::Commit)),
                Some(_) => Err(Unasked::OtherCommit),
            },
            Action::Close if is_ending || self.has_ended => Err(Unasked::CloseAsks),
            _ => Ok(None),
        }
    }

    fn follow(&mut self, action: Action, before: &State, after: &State) -> Vec<Again> {
        let is_ending = has(before, Says::Commit, Urgency::System);
        self.has_ended |= is_ending && !has(after, Says::Commit, Urgency::System);
        let mut again = Vec::new();
        for wish in lost_wishes(action, before, after) {
            match (wish.says, wish.urgency) {
                (Says::Commit, urgency) => {
                    self.lost_commit = Some(urgency == Urgency::System);
                    again.push(Again::Commit);
                }
                (Says::Nothing, Urgency::System) if is_ending => again.push(Again::Positions),
                _ => {}
            }
        }
        again
    }
}
