//! Kafka's zig-zag varints, read from the front of a slice.
//!
//! Inlined by force, for it is the parser's inner loop: one to three bytes are read in line.
//! Decides what an over-long varint is: more than five bytes for 32 bits, more than ten for 64, or
//! bits that do not fit. As in Kafka's `ByteUtils.readVarint` (4.3), a padded form that fits is
//! legal.

use super::read::Broken;

/// Takes a zig-zag 32-bit varint.
#[inline(always)]
pub(super) fn take_i32(bytes: &mut &[u8]) -> Result<i32, Broken> {
    let raw = match **bytes {
        [a, ref rest @ ..] if a < 0x80 => {
            *bytes = rest;
            u32::from(a)
        }
        [a, b, ref rest @ ..] if b < 0x80 => {
            *bytes = rest;
            u32::from(a & 0x7f) | u32::from(b) << 7
        }
        [a, b, c, ref rest @ ..] if c < 0x80 => {
            *bytes = rest;
            u32::from(a & 0x7f) | u32::from(b & 0x7f) << 7 | u32::from(c) << 14
        }
        _ => {
            let (raw, rest) = split_long(bytes, 5)?;
            *bytes = rest;
            u32::try_from(raw).map_err(|_| Broken::VarintTooLong)?
        }
    };
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Takes a zig-zag 64-bit varint.
#[inline(always)]
pub(super) fn take_i64(bytes: &mut &[u8]) -> Result<i64, Broken> {
    let raw = match **bytes {
        [a, ref rest @ ..] if a < 0x80 => {
            *bytes = rest;
            u64::from(a)
        }
        [a, b, ref rest @ ..] if b < 0x80 => {
            *bytes = rest;
            u64::from(a & 0x7f) | u64::from(b) << 7
        }
        [a, b, c, ref rest @ ..] if c < 0x80 => {
            *bytes = rest;
            u64::from(a & 0x7f) | u64::from(b & 0x7f) << 7 | u64::from(c) << 14
        }
        _ => {
            let (raw, rest) = split_long(bytes, 10)?;
            *bytes = rest;
            raw
        }
    };
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Splits off an unsigned varint of at most `length_max` bytes and 64 bits. By value, so that the
/// caller's slice stays in registers.
#[inline(never)]
fn split_long(bytes: &[u8], length_max: usize) -> Result<(u64, &[u8]), Broken> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(length_max).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return Err(Broken::VarintTooLong);
        }
        value |= bits << (7 * index);
        if byte < 0x80 {
            return Ok((value, &bytes[index + 1..]));
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
                assert_eq!(take_i64(&mut &bytes[..]), Ok(value));
                let narrow = take_i32(&mut &bytes[..]);
                assert_eq!(narrow.ok(), i32::try_from(value).ok(), "{value}");
            }
        }
    }

    #[test]
    fn over_long_varints_are_refused_and_short_input_is_truncation() {
        let five = [0xff, 0xff, 0xff, 0xff, 0x1f];
        assert_eq!(take_i32(&mut &five[..]), Err(Broken::VarintTooLong));
        let six = [0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
        assert_eq!(take_i32(&mut &six[..]), Err(Broken::VarintTooLong));
        let ten = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(take_i64(&mut &ten[..]), Err(Broken::VarintTooLong));
        let eleven = [0x80; 11];
        assert_eq!(take_i64(&mut &eleven[..]), Err(Broken::VarintTooLong));
        assert_eq!(take_i64(&mut &eleven[..9]), Err(Broken::Truncated));
        assert_eq!(take_i32(&mut &[][..]), Err(Broken::Truncated));
    }

    #[test]
    fn padded_varints_that_fit_are_legal_as_in_kafka() {
        let padded = [0x82, 0x80, 0x00, 0x7f];
        let mut rest = &padded[..];
        assert_eq!(take_i32(&mut rest), Ok(1));
        assert_eq!(rest, [0x7f]);
    }
}
