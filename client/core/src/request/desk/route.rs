//! Which of a broker's two connections a request takes, and when it moves to the other (Q8, Q9).

use super::{Asker, Desk, Mutant, Orders, Peer, To};
use crate::connection::Connection;
use crate::request::Kind;
use crate::request::queue::{Lane, Question, Waiting, Word};
use evenkeel_spec::words::NodeId;

impl<Q: Question, P: Clone> Desk<Q, P> {
    /// Which connection a request takes: the broker's one, unless it cannot wait and that one is
    /// throttled or parked (Q8). What may not be overtaken is followed (Q9).
    pub(super) fn route(&self, to: To, lane: Lane, question: &Q) -> Peer {
        let node = match to {
            To::Peer(Peer::Node(node)) if lane == Lane::System && self.hurries(node, question) => {
                node
            }
            To::Peer(peer) => return peer,
            To::Coordinator(node) if self.config.dedicated => return Peer::Second(node),
            To::Coordinator(node) | To::Leader(node) => node,
        };
        let both = [Peer::Node(node), Peer::Second(node)];
        let is_leave = question.word() == Word::Leave;
        if is_leave && !Mutant::HeartbeatOvertaken.is(self.config.mutant) {
            let words = [Word::Presence, Word::Owned];
            if let Some(peer) = both.into_iter().find(|peer| self.has_in_flight(*peer, &words)) {
                return peer;
            }
        }
        let ends = is_leave || question.word() == Word::Owned;
        if ends && !Mutant::CommitOvertaken.is(self.config.mutant) {
            let follows = |peer: &Peer| {
                !self.connections.get(peer).is_some_and(Connection::is_throttled)
                    && self.has_in_flight(*peer, &[Word::Commit])
            };
            if let Some(peer) = both.into_iter().find(follows) {
                return peer;
            }
        }
        if lane == Lane::System && !self.config.dedicated { self.best(node) } else { both[0] }
    }

    /// Whether what any broker answers does not wait for this one's first connection: metadata does
    /// where that is read, for no longer than a fetch is parked.
    fn hurries(&self, node: NodeId, question: &Q) -> bool {
        let mutant = self.config.mutant;
        let first = self.connections.get(&Peer::Node(node));
        let is_read = first.is_some_and(Connection::is_ready);
        let is_patient = question.kind() == Kind::Metadata || Mutant::LookupParked.is(mutant);
        let hurries = if is_read { !is_patient } else { !Mutant::PeerThrottled.is(mutant) };
        hurries && !self.config.dedicated
    }

    fn has_in_flight(&self, peer: Peer, words: &[Word]) -> bool {
        self.connections.get(&peer).is_some_and(|connection| connection.has_in_flight(words))
    }

    /// Q8: the connection on which a system request of this broker goes out first.
    fn best(&self, node: NodeId) -> Peer {
        let [first, second] = [Peer::Node(node), Peer::Second(node)];
        if Mutant::OneConnection.is(self.config.mutant) {
            return first;
        }
        let of = |peer| self.connections.get(&peer);
        let free = |c: &Connection<_, _>| c.is_ready() && !c.is_parked();
        let throttled = |peer| of(peer).is_some_and(Connection::is_throttled);
        let keeps = throttled(first) && Mutant::ThrottledSystem.is(self.config.mutant);
        if keeps || of(first).is_some_and(free) {
            first
        } else if of(second).is_some_and(free) {
            second
        } else {
            let waits = throttled(first) || of(first).is_some_and(Connection::is_parked);
            if waits && !throttled(second) { second } else { first }
        }
    }

    /// Q8: what waits does not stay with a broker that does not read, nor for a connection that is
    /// being made, when the other would take it.
    pub(super) fn hurry(&mut self, peer: Peer, out: &mut Orders<Q, P>) {
        let Some((node, _)) = self.pair(peer) else { return };
        let to = self.best(node);
        let goes = self.connections.get(&to).is_some_and(Connection::is_ready);
        let other = self.pair(to).and_then(|(_, other)| self.connections.get(&other));
        if goes || other.is_some_and(Connection::is_throttled) {
            self.pull(to, out);
        }
    }

    /// A broker and the other of its two connections, where both are for the same.
    fn pair(&self, peer: Peer) -> Option<(NodeId, Peer)> {
        match peer {
            _ if self.config.dedicated => None,
            Peer::Node(node) => Some((node, Peer::Second(node))),
            Peer::Second(node) => Some((node, Peer::Node(node))),
            Peer::Bootstrap(_) => None,
        }
    }

    /// What the system asks for and waits on the other connection goes out on this one. What a leave
    /// follows stays with it (Q9).
    pub(super) fn pull(&mut self, to: Peer, out: &mut Orders<Q, P>) {
        let from = self.pair(to).and_then(|(_, from)| self.connections.get_mut(&from));
        let Some(source) = from.filter(|source| source.queue().has(Lane::System)) else { return };
        let follows = source.has_in_flight(&[Word::Presence, Word::Owned])
            && source.queue().iter().any(|(_, waiting)| waiting.question.word() == Word::Leave);
        let taken = source.hand_over(|lane, question| {
            lane == Lane::System && (!follows || question.word() == Word::Nothing)
        });
        self.take_over(to, taken, out);
    }

    fn take_over(&mut self, to: Peer, taken: Vec<Waiting<Q, Asker<P>>>, out: &mut Orders<Q, P>) {
        if taken.is_empty() {
            return;
        }
        self.with(to, out, |connection, names, out| {
            for waiting in taken {
                connection.on_handed_over(Lane::System, waiting);
            }
            connection.on_room(names, out);
        });
    }

    /// Q9: a commit that was not sent yet goes before a word that may end what it is for, and a
    /// heartbeat before a leave.
    pub(super) fn bring(&mut self, to: To, peer: Peer, word: Word, out: &mut Orders<Q, P>) {
        let (To::Coordinator(node) | To::Leader(node)) = to else { return };
        let mutant = self.config.mutant;
        for other in [Peer::Node(node), Peer::Second(node)] {
            let Some(connection) = self.connections.get_mut(&other) else { continue };
            let taken = connection.hand_over(|_, question| match question.word() {
                Word::Commit => true,
                Word::Presence | Word::Owned => {
                    word == Word::Leave && !Mutant::HeartbeatLeftBehind.is(mutant)
                }
                Word::Nothing | Word::Leave => false,
            });
            self.take_over(peer, taken, out);
        }
    }
}
