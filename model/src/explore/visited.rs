//! Which states were seen: fingerprint to index, 16 bytes a state and 8 bytes a slot.
//!
//! Open addressing with linear probing, at most three quarters full. A slot holds 32 bits of the
//! fingerprint as a tag beside the index, so that a wrong slot is refused without another cache
//! miss; a right tag is confirmed by all 128 bits.

/// The set of fingerprints seen, numbered in the order of their insertion.
#[derive(Clone, Debug)]
pub(super) struct Visited {
    fingerprints: Vec<u128>,
    slots: Vec<u64>,
}

/// Where a fingerprint is, or where it belongs.
pub(super) enum Probe {
    /// It was seen: its index.
    Seen(u32),
    /// It was not: the slot for [`Visited::insert`].
    Vacant(usize),
}

impl Visited {
    pub(super) fn new() -> Self {
        Self { fingerprints: Vec::new(), slots: vec![EMPTY; SLOTS_MIN] }
    }

    pub(super) fn len(&self) -> usize {
        self.fingerprints.len()
    }

    pub(super) fn fingerprint(&self, index: u32) -> u128 {
        self.fingerprints[index as usize]
    }

    #[inline]
    pub(super) fn probe(&self, fingerprint: u128) -> Probe {
        let mut at = self.home(fingerprint);
        loop {
            let slot = self.slots[at];
            if slot == EMPTY {
                return Probe::Vacant(at);
            }
            let index = index_of(slot);
            if slot & TAG_MASK == tag(fingerprint) && self.fingerprint(index) == fingerprint {
                return Probe::Seen(index);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Numbers a new fingerprint; `at` is what [`Self::probe`] has just answered for it.
    pub(super) fn insert(&mut self, fingerprint: u128, at: usize) -> u32 {
        debug_assert_eq!(self.slots[at], EMPTY, "a slot was given to two fingerprints");
        let index = u32::try_from(self.len())
            .ok()
            .filter(|index| *index < u32::MAX)
            .expect("the explorer numbers states with 32 bits");
        self.slots[at] = tag(fingerprint) | (u64::from(index) + 1);
        self.fingerprints.push(fingerprint);
        if self.len() * 4 > self.slots.len() * 3 {
            self.grow();
        }
        index
    }

    pub(super) fn bytes(&self) -> usize {
        self.fingerprints.capacity() * 16 + self.slots.capacity() * 8
    }

    pub(super) fn shrink(&mut self) {
        self.fingerprints.shrink_to_fit();
    }

    #[cold]
    fn grow(&mut self) {
        let slots_count = self.slots.len() * 2;
        self.slots = Vec::new();
        self.slots = vec![EMPTY; slots_count];
        for (index, fingerprint) in (0_u64..).zip(&self.fingerprints) {
            let mut at = self.home(*fingerprint);
            while self.slots[at] != EMPTY {
                at = (at + 1) & (slots_count - 1);
            }
            self.slots[at] = tag(*fingerprint) | (index + 1);
        }
    }

    #[inline]
    fn home(&self, fingerprint: u128) -> usize {
        fingerprint as usize & (self.slots.len() - 1)
    }
}

#[inline]
fn tag(fingerprint: u128) -> u64 {
    (fingerprint >> 64) as u64 & TAG_MASK
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the index is the lower half of a slot")]
fn index_of(slot: u64) -> u32 {
    slot as u32 - 1
}

const EMPTY: u64 = 0;
const TAG_MASK: u64 = 0xffff_ffff_0000_0000;
const SLOTS_MIN: usize = 1024;
