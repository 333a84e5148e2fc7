//! Which 128-bit number stands for a state: a deterministic hash, the same on every run and CPU.
//!
//! Two lanes of 64 bits with different keys each fold every 64-bit word of the input through a full
//! 128-bit product. Values wider than a byte enter in little-endian order and `usize` as 64 bits, so
//! the numbers agree on every little-endian target; they are compared within one run only and must
//! not enter a snapshot. Taking the lanes as independent random functions, n states collide with
//! probability at most n^2 / 2^129: 1.5e-25 for ten million states, 1.5e-21 for a thousand million.
//! A collision would hide a state; the cross-check against stateright (64 bits, another hash) would
//! then differ in its count.

use std::hash::{BuildHasherDefault, Hash, Hasher};

/// The hash maps of the explorer: keyed by [`FingerprintHasher`], looked up and never iterated.
pub(super) type Build = BuildHasherDefault<FingerprintHasher>;

/// The 128-bit fingerprint of a value.
#[must_use]
pub fn fingerprint<T: Hash>(value: &T) -> u128 {
    let mut hasher = FingerprintHasher::default();
    value.hash(&mut hasher);
    hasher.fingerprint()
}

/// A [`Hasher`] with 128 bits of result.
#[derive(Clone, Debug)]
pub struct FingerprintHasher {
    lanes: [u64; 2],
    word: u64,
    word_bits: u32,
    words: u64,
}

impl FingerprintHasher {
    /// All 128 bits; [`Hasher::finish`] gives the lower half.
    #[must_use]
    pub fn fingerprint(&self) -> u128 {
        let length = self.words.wrapping_mul(64).wrapping_add(u64::from(self.word_bits));
        let [mut low, mut high] = self.lanes;
        for word in [self.word, length] {
            low = fold(low ^ word, KEYS[0]);
            high = fold(high ^ word, KEYS[1]);
        }
        let crossed = avalanche(low.wrapping_add(high));
        u128::from(avalanche(high)) << 64 | u128::from(crossed)
    }

    #[inline]
    fn mix(&mut self, word: u64) {
        self.lanes[0] = fold(self.lanes[0] ^ word, KEYS[0]);
        self.lanes[1] = fold(self.lanes[1] ^ word, KEYS[1]);
        self.words += 1;
    }

    /// Appends the lowest `bits` (8 to 64) of `value`; the bits above them are zero.
    #[inline]
    fn push(&mut self, value: u64, bits: u32) {
        let used = self.word_bits;
        self.word |= value << used;
        if used + bits < 64 {
            self.word_bits = used + bits;
            return;
        }
        self.mix(self.word);
        self.word = if used == 0 { 0 } else { value >> (64 - used) };
        self.word_bits = used + bits - 64;
    }
}

impl Default for FingerprintHasher {
    fn default() -> Self {
        Self { lanes: SEEDS, word: 0, word_bits: 0, words: 0 }
    }
}

impl Hasher for FingerprintHasher {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
    fn finish(&self) -> u64 {
        self.fingerprint() as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.push(u64::from_le_bytes(*word), 64);
        }
        for byte in rest {
            self.push(u64::from(*byte), 8);
        }
    }

    #[inline]
    fn write_u8(&mut self, value: u8) {
        self.push(u64::from(value), 8);
    }

    #[inline]
    fn write_u16(&mut self, value: u16) {
        self.push(u64::from(value), 16);
    }

    #[inline]
    fn write_u32(&mut self, value: u32) {
        self.push(u64::from(value), 32);
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.push(value, 64);
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are hashed")]
    fn write_u128(&mut self, value: u128) {
        self.push(value as u64, 64);
        self.push((value >> 64) as u64, 64);
    }

    #[inline]
    fn write_usize(&mut self, value: usize) {
        self.push(value as u64, 64);
    }

    #[inline]
    fn write_i8(&mut self, value: i8) {
        self.write_u8(value.cast_unsigned());
    }

    #[inline]
    fn write_i16(&mut self, value: i16) {
        self.write_u16(value.cast_unsigned());
    }

    #[inline]
    fn write_i32(&mut self, value: i32) {
        self.write_u32(value.cast_unsigned());
    }

    #[inline]
    fn write_i64(&mut self, value: i64) {
        self.write_u64(value.cast_unsigned());
    }

    /// Enum discriminants come here; sign-extended, so that a 32-bit target agrees.
    #[inline]
    fn write_isize(&mut self, value: isize) {
        self.write_i64(value as i64);
    }
}

/// The exclusive or of both halves of the product.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves of the product are used")]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The finalizer of `MurmurHash3` (64 bits): a bijection in which each bit depends on all.
#[inline]
fn avalanche(mut word: u64) -> u64 {
    word = (word ^ word >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ word >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ word >> 33
}

/// Odd, half of their bits set, without structure: digits of pi (as in wyhash and foldhash).
const KEYS: [u64; 2] = [0x243f_6a88_85a3_08d3, 0xa409_3822_299f_31d1];
const SEEDS: [u64; 2] = [0x1319_8a2e_0370_7344, 0x082e_fa98_ec4e_6c89];
