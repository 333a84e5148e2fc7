//! A part of a state that most steps leave as it is: shared by the states before and after, and
//! hashed once.

use crate::explore::fingerprint;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// A shared value. A state hashes its 128-bit fingerprint instead of the value, so the probability of
/// a collision is that of the fingerprints.
#[derive(Clone, Debug, Default)]
pub struct Shared<T>(Arc<Inner<T>>);

#[derive(Debug, Default)]
struct Inner<T> {
    value: T,
    fingerprint: OnceLock<u128>,
}

impl<T> Shared<T> {
    /// Shares a value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Inner::from(value)))
    }
}

impl<T: Clone> Shared<T> {
    /// The value to change: its own if nobody shares it, else a copy.
    pub fn make_mut(this: &mut Self) -> &mut T {
        let inner = Arc::make_mut(&mut this.0);
        inner.fingerprint.take();
        &mut inner.value
    }
}

impl<T> From<T> for Inner<T> {
    fn from(value: T) -> Self {
        Self { value, fingerprint: OnceLock::new() }
    }
}

/// A copy is about to be changed.
impl<T: Clone> Clone for Inner<T> {
    fn clone(&self) -> Self {
        Self::from(self.value.clone())
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.value == other.0.value
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: Hash> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u128(*self.0.fingerprint.get_or_init(|| fingerprint(&self.0.value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_in_the_fingerprint_and_by_nobody_else() {
        let before = Shared::new(vec![1]);
        let first = fingerprint(&before);
        let mut after = before.clone();
        assert_eq!(fingerprint(&after), first);
        Shared::make_mut(&mut after).push(2);
        assert_ne!(fingerprint(&after), first);
        assert_eq!((&*before, &*after), (&vec![1], &vec![1, 2]));
        Shared::make_mut(&mut after).pop();
        assert_eq!(fingerprint(&after), first);
        assert_eq!(after, before);
    }
}
