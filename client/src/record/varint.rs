//! Kafka's zig-zag varints, read at a place in a slice.
//!
//! Decides what an over-long varint is: more than five bytes for 32 bits, more than ten for 64, or
//! bits that do not fit. As in Kafka's `ByteUtils.readVarint` (4.3), a padded form that fits is
//! legal.

use super::read::Broken;

/// Takes a zig-zag varint of one to three bytes, which nearly all are, and moves `at` behind it;
/// `None`: it is longer or cut, and `at` is anywhere.
#[inline(always)]
pub(super) fn take_short(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let first = *bytes.get(*at)?;
    *at += 1;
    let mut raw = u32::from(first & 0x7f);
    if first >= 0x80 {
        let second = *bytes.get(*at)?;
        *at += 1;
        raw |= u32::from(second & 0x7f) << 7;
        if second >= 0x80 {
            let third = *bytes.get(*at).filter(|third| **third < 0x80)?;
            *at += 1;
            raw |= u32::from(third) << 14;
        }
    }
    Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Takes the zig-zag 32-bit varint at `at`, and moves `at` behind it.
pub(super) fn take_i32(bytes: &[u8], at: &mut usize) -> Result<i32, Broken> {
    let (raw, after) = read(bytes, *at, 5)?;
    let raw = u32::try_from(raw).map_err(|_| Broken::VarintTooLong)?;
    *at = after;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Takes the zig-zag 64-bit varint at `at`, and moves `at` behind it.
pub(super) fn take_i64(bytes: &[u8], at: &mut usize) -> Result<i64, Broken> {
    let (raw, after) = read(bytes, *at, 10)?;
    *at = after;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// An unsigned varint of at most `length_max` bytes and 64 bits, and where it ends.
fn read(bytes: &[u8], at: usize, length_max: usize) -> Result<(u64, usize), Broken> {
    let bytes = bytes.get(at..).unwrap_or_default();
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(length_max).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return Err(Broken::VarintTooLong);
        }
        value |= bits << (7 * index);
        if byte < 0x80 {
            return Ok((value, at + index + 1));
        }
    }
    if bytes.len() < length_max {
        return Err(Broken::Truncated);
    }
    Err(Broken::VarintTooLong)
}

/// Appends a zig-zag varint; 32-bit values have the same form.
pub(super) fn put(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    loop {
        let low = u8::try_from(raw & 0x7f).expect("seven bits fit a byte");
        raw >>= 7;
        if raw == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_round_trips() {
        for shift in 0..64 {
            for value in
                [1i64 << shift, (1i64 << shift).wrapping_neg(), (1i64 << shift).wrapping_sub(1)]
            {
                let mut bytes = Vec::new();
                put(&mut bytes, value);
                assert_eq!(take_i64(&bytes, &mut 0), Ok(value));
                let narrow = take_i32(&bytes, &mut 0).ok();
                assert_eq!(narrow, i32::try_from(value).ok(), "{value}");
                let short = take_short(&bytes, &mut 0);
                assert_eq!(short, narrow.filter(|_| bytes.len() <= 3), "{value}");
            }
        }
    }

    #[test]
    fn over_long_varints_are_refused_and_short_input_is_truncation() {
        let five = [0xff, 0xff, 0xff, 0xff, 0x1f];
        assert_eq!(take_i32(&five, &mut 0), Err(Broken::VarintTooLong));
        let six = [0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
        assert_eq!(take_i32(&six, &mut 0), Err(Broken::VarintTooLong));
        let ten = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(take_i64(&ten, &mut 0), Err(Broken::VarintTooLong));
        let eleven = [0x80; 11];
        assert_eq!(take_i64(&eleven, &mut 0), Err(Broken::VarintTooLong));
        assert_eq!(take_i64(&eleven[..9], &mut 0), Err(Broken::Truncated));
        assert_eq!(take_i32(&[], &mut 0), Err(Broken::Truncated));
    }

    #[test]
    fn a_varint_is_read_where_it_lies() {
        let bytes = [0x7f, 0xac, 0x02, 0x01];
        let mut at = 1;
        assert_eq!((take_i32(&bytes, &mut at), at), (Ok(150), 3));
        assert_eq!((take_i64(&bytes, &mut at), at), (Ok(-1), 4));
        assert_eq!(take_i64(&bytes, &mut at), Err(Broken::Truncated));
    }

    #[test]
    fn padded_varints_that_fit_are_legal_as_in_kafka() {
        let padded = [0x82, 0x80, 0x00, 0x7f];
        let mut at = 0;
        assert_eq!(take_i32(&padded, &mut at), Ok(1));
        assert_eq!(at, 3);
    }
}
