//! What a record is within a batch's body, and the borrowed view that an application gets of it.

use std::str;

use evenkeel_spec::words::{LeaderEpoch, Offset};

use super::batch::Head;
use super::{RecordFault, TimestampType, varint};

/// One record, borrowed from its batch.
///
/// A kept slice of it would pin the whole batch: copy what should live on.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The record's offset in its partition.
    pub offset: Offset,
    /// The epoch of the leader that appended the record (KIP-320), if it is known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Milliseconds since the Unix epoch; `None`: the producer set none (-1 on the wire).
    pub timestamp_ms: Option<i64>,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// The key, if the record has one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers (KIP-82), in the producer's order.
    pub headers: Headers<'a>,
}

/// A record's headers (KIP-82), read where they lie: in order, duplicate keys kept.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// How many headers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers, in order.
    #[must_use]
    pub fn iter(&self) -> HeaderIter<'a> {
        HeaderIter { left: self.count, bytes: self.bytes }
    }

    /// The last header of this key, which is the one that counts (Kafka's `Headers.lastHeader`).
    #[must_use]
    pub fn last(&self, key: &str) -> Option<Header<'a>> {
        self.iter().filter(|header| header.key == key.as_bytes()).last()
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = Header<'a>;
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// Iterates over a record's headers.
#[derive(Clone, Debug)]
pub struct HeaderIter<'a> {
    left: u32,
    bytes: &'a [u8],
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        let mut at = 0;
        let header = take_header(self.bytes, &mut at);
        self.bytes = &self.bytes[at..];
        Some(header.expect("headers were walked when their record was"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for HeaderIter<'_> {}

/// One header of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header<'a> {
    /// The key as the bytes it was sent as: Kafka's clients write UTF-8, but no broker checks it.
    pub key: &'a [u8],
    /// The value, if the header has one.
    pub value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// The key, if it is UTF-8.
    #[must_use]
    pub fn key_str(&self) -> Option<&'a str> {
        str::from_utf8(self.key).ok()
    }
}

/// What is wrong with a record, small enough for the registers of the inner loop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Broken {
    Truncated,
    VarintTooLong,
    RecordLength,
    HeaderLength,
}

impl From<Broken> for RecordFault {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Truncated => Self::RecordsTruncated,
            Broken::VarintTooLong => Self::VarintTooLong,
            Broken::RecordLength => Self::RecordLength,
            Broken::HeaderLength => Self::HeaderLength,
        }
    }
}

/// Where a checked record lies in its batch's body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) offset: Offset,
    /// As on the wire.
    timestamp: i64,
    key: Span,
    value: Span,
    headers_start: u32,
    header_count: u32,
}

impl Place {
    /// The record in the body that it was found in.
    #[inline]
    pub(super) fn record<'a>(
        &self,
        body: &'a [u8],
        leader_epoch: Option<LeaderEpoch>,
        timestamp_type: TimestampType,
    ) -> Record<'a> {
        Record {
            offset: self.offset,
            leader_epoch,
            timestamp_ms: timestamp(self.timestamp),
            timestamp_type,
            key: self.key.get(body),
            value: self.value.get(body),
            headers: Headers {
                count: self.header_count,
                bytes: &body[self.headers_start as usize..],
            },
        }
    }
}

/// A field in a body, or null.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Span {
    start: u32,
    /// `u32::MAX` for null: more than any field's.
    length: u32,
}

impl Span {
    const NULL: Self = Self { start: 0, length: u32::MAX };

    #[inline]
    fn get(self, body: &[u8]) -> Option<&[u8]> {
        (self.length != u32::MAX).then(|| &body[self.start as usize..][..self.length as usize])
    }
}

/// A position in a body, which is below 4 GiB: a frame is, and decompression is bounded so.
#[expect(clippy::cast_possible_truncation, reason = "`Chunk` bounds bodies; see above")]
#[inline]
fn position(at: usize) -> u32 {
    debug_assert!(u32::try_from(at).is_ok());
    at as u32
}

/// A walk over the records of one batch, which checks each.
///
/// Offsets must rise and stay within the batch's range. Kafka's client skips a record whose offset
/// does not rise, and so loses it silently; here it is a fault.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    body: &'a [u8],
    /// Where the next record starts.
    at: usize,
    /// How many records were not walked yet.
    pub(super) left: u32,
    /// The least offset delta that the next record may have.
    pub(super) delta_min: i64,
}

impl<'a> Walk<'a> {
    /// Over the next `left` records, which lie at the front of `body`.
    #[inline]
    pub(super) fn new(body: &'a [u8], left: u32, delta_min: i64) -> Self {
        // Places are 32 bits: what is beyond them is not there.
        let body = &body[..body.len().min(u32::MAX as usize)];
        Self { body, at: 0, left, delta_min }
    }

    /// How many bytes were walked.
    #[inline]
    pub(super) fn walked(&self) -> usize {
        self.at
    }

    /// The next record, or `None` at the batch's end, where no bytes may be left.
    #[inline(always)]
    pub(super) fn next(&mut self, head: &Head) -> Result<Option<Place>, RecordFault> {
        if self.left == 0 {
            let bytes = self.body.len() - self.at;
            return if bytes == 0 { Ok(None) } else { Err(RecordFault::TrailingBytes { bytes }) };
        }
        let fields = match Fields::read_short(self.body, self.at) {
            Some(fields) => fields,
            None => Fields::read(self.body, self.at)?,
        };
        let Fields { timestamp_delta, offset_delta, key, value, header_count, at, end } = fields;
        if header_count != 0 || at != end {
            check_headers(header_count, &self.body[..end], at)?;
        }
        let delta = i64::from(offset_delta);
        if delta < self.delta_min || delta > head.last_offset - head.base_offset {
            return Err(RecordFault::OffsetOrder { offset_delta });
        }
        self.delta_min = delta + 1;
        self.left -= 1;
        self.at = end;
        let timestamp = match head.timestamp_type() {
            // Wraps as in Kafka's own clients: it decides nothing.
            TimestampType::CreateTime => head.base_timestamp.wrapping_add(timestamp_delta),
            TimestampType::LogAppendTime => head.max_timestamp,
        };
        // Not negative: `Head` checked the base, the lines above the delta.
        let offset = Offset((head.base_offset + delta).cast_unsigned());
        let headers_start = position(at);
        Ok(Some(Place { offset, timestamp, key, value, headers_start, header_count }))
    }
}

/// A record's fields up to its headers, by their places in the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Fields {
    timestamp_delta: i64,
    offset_delta: i32,
    key: Span,
    value: Span,
    header_count: u32,
    /// Where the headers start.
    at: usize,
    /// Where the record ends.
    end: usize,
}

impl Fields {
    /// The fields of the record at `at`, if no varint before its headers is longer than three
    /// bytes. `None`: one is, or the record is broken; [`Self::read`] tells.
    ///
    /// This is the parser's inner loop: inlined by force, and without errors to carry.
    #[inline(always)]
    fn read_short(body: &[u8], mut at: usize) -> Option<Self> {
        let length = varint::take_short(body, &mut at)?;
        let end = at + usize::try_from(length).ok()?;
        let record = body.get(..end)?;
        at += 1; // attributes, of which none is defined
        let timestamp_delta = i64::from(varint::take_short(record, &mut at)?);
        let offset_delta = varint::take_short(record, &mut at)?;
        // A field beyond the record's end leaves no byte to be read after it.
        let key = Self::take_short_field(record, &mut at)?;
        let value = Self::take_short_field(record, &mut at)?;
        let header_count = u32::try_from(varint::take_short(record, &mut at)?).ok()?;
        Some(Self { timestamp_delta, offset_delta, key, value, header_count, at, end })
    }

    #[inline(always)]
    fn take_short_field(record: &[u8], at: &mut usize) -> Option<Span> {
        let length = varint::take_short(record, at)?;
        let Ok(length) = u32::try_from(length) else { return Some(Span::NULL) };
        let start = position(*at);
        *at += length as usize;
        Some(Span { start, length })
    }

    /// The fields of the record at `at`; whether its headers are well-formed is not looked at.
    #[inline(never)]
    fn read(body: &[u8], mut at: usize) -> Result<Self, Broken> {
        let length = varint::take_i32(body, &mut at)?;
        let length = usize::try_from(length).map_err(|_| Broken::RecordLength)?;
        if length > body.len() - at {
            return Err(Broken::Truncated);
        }
        if length == 0 {
            return Err(Broken::RecordLength);
        }
        let end = at + length;
        let record = &body[..end];
        at += 1; // attributes, of which none is defined
        let timestamp_delta = varint::take_i64(record, &mut at)?;
        let offset_delta = varint::take_i32(record, &mut at)?;
        let key = take_field(record, &mut at)?;
        let value = take_field(record, &mut at)?;
        let count = varint::take_i32(record, &mut at)?;
        let header_count = u32::try_from(count).map_err(|_| Broken::HeaderLength)?;
        Ok(Self { timestamp_delta, offset_delta, key, value, header_count, at, end })
    }
}

/// The wire's -1 is no timestamp.
#[inline]
pub(super) fn timestamp(value: i64) -> Option<i64> {
    (value != -1).then_some(value)
}

/// Walks the headers that start at `at`: each whole, and nothing after the last.
fn check_headers(count: u32, record: &[u8], mut at: usize) -> Result<(), Broken> {
    for _ in 0..count {
        take_header(record, &mut at)?;
    }
    if at == record.len() { Ok(()) } else { Err(Broken::RecordLength) }
}

#[inline]
fn take_header<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Header<'a>, Broken> {
    let key = take_field(bytes, at)?.get(bytes).ok_or(Broken::HeaderLength)?;
    let value = take_field(bytes, at)?.get(bytes);
    Ok(Header { key, value })
}

/// Takes a length and as many bytes; a negative length is null, as in Kafka's
/// `DefaultRecord.readFrom`.
fn take_field(bytes: &[u8], at: &mut usize) -> Result<Span, Broken> {
    let length = varint::take_i32(bytes, at)?;
    let Ok(length) = u32::try_from(length) else {
        return Ok(Span::NULL);
    };
    if length as usize > bytes.len() - *at {
        return Err(Broken::RecordLength);
    }
    let span = Span { start: position(*at), length };
    *at += length as usize;
    Ok(span)
}

/// The least bytes of a record: its length, attributes, two deltas, two null lengths, a header
/// count, of one byte each.
pub(super) const RECORD_LENGTH_MIN: usize = 7;

#[cfg(test)]
mod tests {
    use super::Fields;

    /// Bytes of few kinds, so that many are records, and records of many kinds.
    #[test]
    fn what_is_read_the_short_way_is_what_is_read() {
        let kinds = [0, 1, 2, 3, 4, 6, 8, 12, 18, 24, 0x7f, 0x80, 0x81, 0x82, 0xff];
        let (mut seed, mut short) = (0x9e37_79b9_7f4a_7c15_u64, 0);
        for _ in 0..300_000 {
            let mut body = [0; 24];
            for byte in &mut body {
                seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                *byte = kinds[usize::try_from(seed >> 33).expect("31 bits") % kinds.len()];
            }
            for length in [5, 9, 24] {
                if let Some(fields) = Fields::read_short(&body[..length], 0) {
                    assert_eq!(Fields::read(&body[..length], 0), Ok(fields), "{body:?}");
                    short += 1;
                }
            }
        }
        assert!(short > 1_000, "only {short} were read the short way");
    }
}
