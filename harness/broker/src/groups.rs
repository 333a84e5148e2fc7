//! The groups and who coordinates them.

use crate::state::State;
use evenkeel_spec::words::{GroupId, NodeId};

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {}

impl State {
    /// The node that coordinates `group`.
    pub(crate) fn coordinator_of(&self, _group: &GroupId) -> Option<NodeId> {
        self.controller()
    }

    /// Moves coordinators away from dead nodes.
    pub(crate) fn elect_coordinators(&mut self) {}

    /// Tells every group that topics changed.
    pub(crate) fn topics_changed(&mut self) {}
}
