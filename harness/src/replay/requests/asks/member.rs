//! An application that subscribes, as a member of its group. It makes its member say that it is there
//! by subscribing to something else, and what it owns by returning from a callback. After the loss of
//! anything that its coordinator was asked, by a call too, the member finds its coordinator anew (L3),
//! and its next heartbeat says everything.

use super::{Again, Life, Lived, Unasked, has, lost_wishes};
use evenkeel_model::requests::{Action, Own, State};
use evenkeel_spec::rules::requests::{Name, Place, Says, Urgency};

#[derive(Clone, Debug)]
pub(super) struct Member {
    life: Life,
    /// A callback is open, so that commits hurry.
    is_inside: bool,
    /// The next heartbeat says everything.
    is_full: bool,
    /// A heartbeat was lost and is sent again.
    lost_heartbeat: bool,
    /// A commit was lost and is sent again.
    lost_commit: bool,
    /// The leave was lost and is sent again.
    lost_leave: bool,
}

impl Member {
    pub(super) fn new(life: Life) -> Self {
        Self {
            life,
            is_inside: life == Life::Telling,
            is_full: life == Life::Settled { tells_first: true },
            lost_heartbeat: false,
            lost_commit: false,
            lost_leave: false,
        }
    }

    fn heartbeat(&mut self, own: Own) -> Result<Option<Again>, Unasked> {
        let tells = own == Own::Owned;
        if std::mem::take(&mut self.lost_heartbeat) {
            self.is_full = false;
            return if tells { Ok(Some(Again::Heartbeat)) } else { Err(Unasked::OtherHeartbeat) };
        }
        let is_full = std::mem::take(&mut self.is_full);
        match self.life {
            Life::Telling if tells => {
                self.is_inside = false;
                Ok(None)
            }
            _ if is_full == tells => Ok(None),
            _ => Err(Unasked::OtherHeartbeat),
        }
    }

    fn commit(&mut self, own: Own) -> Result<Option<Again>, Unasked> {
        if self.is_inside != (own == Own::Urgent) {
            return Err(Unasked::Hurry);
        }
        Ok(std::mem::take(&mut self.lost_commit).then_some(Again::Commit))
    }

    fn leave(&self, before: &State) -> Result<Option<Again>, Unasked> {
        let commits = [Urgency::System, Urgency::User];
        let commits = commits.into_iter().any(|urgency| has(before, Says::Commit, urgency));
        if self.life == Life::Telling {
            Err(Unasked::OtherHeartbeat)
        } else if commits || self.lost_commit || self.lost_heartbeat {
            Err(Unasked::LeaveWaits)
        } else {
            Ok(None)
        }
    }
}

impl Lived for Member {
    fn act(&mut self, action: Action, before: &State) -> Result<Option<Again>, Unasked> {
        let is_leaving = has(before, Says::Leave, Urgency::System) || self.lost_leave;
        match action {
            Action::Ask(own @ (Own::Presence | Own::Owned)) => self.heartbeat(own),
            Action::Ask(own @ (Own::Commit | Own::Urgent)) => self.commit(own),
            Action::Ask(Own::Leave) => self.leave(before),
            Action::Call(_) if self.is_inside => Err(Unasked::InCallback),
            Action::Call(_) | Action::Retry(_) if before.has_left && calls(before, action) => {
                Err(Unasked::OtherName)
            }
            Action::Ask(Own::Offsets) => Err(Unasked::MemberLooks),
            Action::Ask(Own::Fetch) if before.has_left => Err(Unasked::Ending),
            Action::Close if !before.has_left || is_leaving => Err(Unasked::CloseAsks),
            _ => Ok(None),
        }
    }

    fn follow(&mut self, action: Action, before: &State, after: &State) -> Vec<Again> {
        let told = |state| has(state, Says::Owned, Urgency::System);
        let is_answer = matches!(action, Action::Answer(_) | Action::Throttle(_));
        self.is_inside |= self.life == Life::Telling && is_answer && told(before) && !told(after);
        self.is_full |= has_lost_call(before, after);
        let mut again = Vec::new();
        for wish in lost_wishes(action, before, after) {
            let (lost, what) = match wish.says {
                Says::Commit => (&mut self.lost_commit, Again::Commit),
                Says::Presence | Says::Owned => (&mut self.lost_heartbeat, Again::Heartbeat),
                Says::Leave => (&mut self.lost_leave, Again::Leave),
                Says::Nothing => continue,
            };
            *lost = true;
            self.is_full = true;
            again.push(what);
        }
        again
    }
}

/// Whether an attempt of a call is lost by a step, sent or not.
fn has_lost_call(before: &State, after: &State) -> bool {
    let rests = |state: &State, this| {
        state.seen.open().any(|(name, _, place)| name == this && place == Place::Resting)
    };
    let mut open = before.seen.open();
    open.any(|(name, ..)| {
        matches!(name, Name::Call(_)) && !rests(before, name) && rests(after, name)
    })
}

/// Whether another call is open, which may have been asked in the name of the member that it was.
fn calls(state: &State, action: Action) -> bool {
    let mut open = state.seen.open();
    open.any(|(name, ..)| match (name, action) {
        (Name::Call(number), Action::Retry(this)) => number != this,
        (Name::Call(_), _) => true,
        (Name::Own(_), _) => false,
    })
}
