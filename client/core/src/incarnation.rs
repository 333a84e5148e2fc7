//! Incarnation numbers: the one rule that makes late answers harmless.

/// Which start of a request or callback something belongs to.
///
/// Every outstanding request and callback carries one; its completion is ignored once the number is
/// no longer current (I1).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Incarnation(pub u32);

/// The source of [`Incarnation`]s of one consumer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Incarnations {
    next: u32,
}

impl Incarnations {
    /// A number that was never given before.
    pub fn start(&mut self) -> Incarnation {
        let incarnation = Incarnation(self.next);
        self.next = self.next.wrapping_add(1);
        incarnation
    }

    /// Goes on after the `count` numbers that are alive: for a model that renames them to ranks.
    pub fn restart_after(&mut self, count: u32) {
        self.next = count;
    }
}
