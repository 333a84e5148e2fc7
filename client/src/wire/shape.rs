//! Whether a frame holds the message that it should, before anything is allocated for it.
//!
//! kafka-protocol 0.18 reserves memory for as many elements as the wire claims (its issue #156), so
//! that fifteen bytes can ask for 400 GB and abort the process. Every answer is therefore walked
//! first: each length and count must fit into the bytes that are really there, known tagged fields
//! must have the size that they claim, and nothing may be left over. Only flexible versions
//! (KIP-482) are described, for the client speaks no older ones; `ApiVersions` version 0, which a
//! broker may answer to any version, is the exception.

/// A part of a message, in the order of the wire.
#[derive(Debug)]
pub(crate) enum Shape {
    /// This many bytes: numbers, UUIDs.
    Fixed(usize),
    /// A compact string or byte array, perhaps null.
    Sized,
    /// A compact array, perhaps null.
    Array(&'static [Shape]),
    /// A structure that a byte before it may declare null (negative).
    Nullable(&'static [Shape]),
    /// Tagged fields, with those that the decoder knows.
    Tags(&'static [(u32, &'static [Shape])]),
    /// An array with a four-byte count of elements of a fixed size (`ApiVersions` version 0).
    OldArray(usize),
}

/// What is wrong with a frame's structure.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Misshapen {
    /// The frame ends within a field.
    #[error("it ends within a field")]
    Truncated,
    /// A length or a count exceeds what the frame can hold.
    #[error("a length or count exceeds the frame")]
    Oversized,
    /// A variable-length number has more than five bytes.
    #[error("a variable-length number is too long")]
    Varint,
    /// A tagged field is longer or shorter than its content.
    #[error("a tagged field has another size than it claims")]
    TagSize,
    /// Bytes follow the message.
    #[error("bytes follow the message")]
    TrailingBytes,
}

/// Walks the whole of `bytes` as these shapes, one after the other.
pub(crate) fn check(shapes: &[&[Shape]], bytes: &[u8]) -> Result<(), Misshapen> {
    let mut rest = bytes;
    for shape in shapes {
        walk(shape, &mut rest)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(Misshapen::TrailingBytes) }
}

fn walk(shape: &[Shape], bytes: &mut &[u8]) -> Result<(), Misshapen> {
    for part in shape {
        match part {
            Shape::Fixed(size) => skip(bytes, *size)?,
            Shape::Sized => {
                if let Some(size) = compact_length(bytes)? {
                    skip(bytes, size)?;
                }
            }
            Shape::Array(element) => {
                for _ in 0..compact_length(bytes)?.unwrap_or(0) {
                    walk(element, bytes)?;
                }
            }
            Shape::Nullable(content) => {
                if take(bytes, 1)?[0] < 0x80 {
                    walk(content, bytes)?;
                }
            }
            Shape::Tags(known) => walk_tags(known, bytes)?,
            Shape::OldArray(size) => walk_old_array(*size, bytes)?,
        }
    }
    Ok(())
}

fn walk_tags(known: &[(u32, &'static [Shape])], bytes: &mut &[u8]) -> Result<(), Misshapen> {
    for _ in 0..unsigned_varint(bytes)? {
        let tag = unsigned_varint(bytes)?;
        let size = usize::try_from(unsigned_varint(bytes)?).map_err(|_| Misshapen::Oversized)?;
        let mut content = take(bytes, size)?;
        if let Some((_, shape)) = known.iter().find(|(number, _)| *number == tag) {
            walk(shape, &mut content)?;
            if !content.is_empty() {
                return Err(Misshapen::TagSize);
            }
        }
    }
    Ok(())
}

fn walk_old_array(size: usize, bytes: &mut &[u8]) -> Result<(), Misshapen> {
    let count = take(bytes, 4)?;
    let count = i32::from_be_bytes([count[0], count[1], count[2], count[3]]);
    let Ok(count) = usize::try_from(count) else {
        return Ok(());
    };
    let total = count.checked_mul(size).ok_or(Misshapen::Oversized)?;
    if total > bytes.len() { Err(Misshapen::Oversized) } else { skip(bytes, total) }
}

/// A compact length: the number plus one, 0 for null. An element has at least one byte.
fn compact_length(bytes: &mut &[u8]) -> Result<Option<usize>, Misshapen> {
    let length = match unsigned_varint(bytes)? {
        0 => return Ok(None),
        n => usize::try_from(n - 1).map_err(|_| Misshapen::Oversized)?,
    };
    if length > bytes.len() { Err(Misshapen::Oversized) } else { Ok(Some(length)) }
}

fn unsigned_varint(bytes: &mut &[u8]) -> Result<u32, Misshapen> {
    let mut value = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        let byte = take(bytes, 1)?[0];
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return if shift == 28 && byte > 0x0f { Err(Misshapen::Varint) } else { Ok(value) };
        }
    }
    Err(Misshapen::Varint)
}

fn skip(bytes: &mut &[u8], size: usize) -> Result<(), Misshapen> {
    take(bytes, size).map(|_| ())
}

fn take<'a>(bytes: &mut &'a [u8], size: usize) -> Result<&'a [u8], Misshapen> {
    let (taken, rest) = bytes.split_at_checked(size).ok_or(Misshapen::Truncated)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::{Misshapen, Shape, check};

    const MESSAGE: &[Shape] = &[
        Shape::Fixed(2),
        Shape::Array(&[Shape::Sized, Shape::Tags(&[])]),
        Shape::Nullable(&[Shape::Fixed(1)]),
        Shape::Tags(&[(0, &[Shape::Fixed(3)])]),
    ];

    #[test]
    fn a_message_of_its_shape_passes() {
        let bytes = [0, 0, 3, 2, b'a', 0, 0, 0, 0xff, 2, 0, 3, 1, 2, 3, 9, 1, 7];
        assert_eq!(check(&[MESSAGE], &bytes), Ok(()));
    }

    #[test]
    fn each_defect_has_its_name() {
        for (bytes, defect) in [
            (&[0, 0][..], Misshapen::Truncated),
            (&[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f], Misshapen::Oversized),
            (&[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], Misshapen::Varint),
            (&[0, 0, 0, 0xff, 1, 0, 4, 1, 2, 3, 4], Misshapen::TagSize),
            (&[0, 0, 0, 0xff, 0, 0], Misshapen::TrailingBytes),
        ] {
            assert_eq!(check(&[MESSAGE], bytes), Err(defect), "{bytes:?}");
        }
        let count = [0x7f, 0xff, 0xff, 0xff];
        assert_eq!(check(&[&[Shape::OldArray(6)]], &count), Err(Misshapen::Oversized));
    }
}
