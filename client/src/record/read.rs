//! What a record is within a batch's body, and the borrowed view that an application gets of it.

use std::str;

use evenkeel_spec::words::{LeaderEpoch, Offset};

use super::batch::{Head, offset};
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
        Some(take_header(&mut self.bytes).expect("headers were walked when their record was"))
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

/// A record's fields as they lie in the body.
pub(super) struct Parsed<'a> {
    timestamp_delta: i64,
    pub(super) offset_delta: i32,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Headers<'a>,
    /// How many bytes of the record follow its key.
    after_key: usize,
    /// How many bytes of the record follow its value.
    after_value: usize,
}

impl<'a> Parsed<'a> {
    /// The record in the batch that has this header; [`Walk`] has checked that its offset lies in
    /// it. Timestamps wrap as in Kafka's own clients: they decide nothing.
    pub(super) fn record(self, head: &Head) -> Record<'a> {
        Record {
            offset: offset(head.base_offset + i64::from(self.offset_delta)),
            leader_epoch: head.leader_epoch(),
            timestamp_ms: timestamp(self.timestamp(head)),
            timestamp_type: head.timestamp_type(),
            key: self.key,
            value: self.value,
            headers: self.headers,
        }
    }

    #[inline]
    fn timestamp(&self, head: &Head) -> i64 {
        match head.timestamp_type() {
            TimestampType::CreateTime => head.base_timestamp.wrapping_add(self.timestamp_delta),
            TimestampType::LogAppendTime => head.max_timestamp,
        }
    }

    /// Where the record lies in a body of which `end` bytes are up to its end.
    #[inline(always)]
    pub(super) fn place(&self, head: &Head, end: usize) -> Place {
        let headers_start = position(end - self.headers.bytes.len());
        Place {
            // Not negative: `Head` checked the base, `Walk` the delta.
            offset: Offset((head.base_offset + i64::from(self.offset_delta)).cast_unsigned()),
            timestamp: self.timestamp(head),
            key: Span::of(self.key, end - self.after_key),
            value: Span::of(self.value, end - self.after_value),
            headers_start,
            header_count: self.headers.count,
        }
    }
}

/// Where a checked record lies in its batch's body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    offset: Offset,
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
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    /// `u32::MAX` for null: more than any field's.
    length: u32,
}

impl Span {
    #[inline]
    fn of(field: Option<&[u8]>, end: usize) -> Self {
        match field {
            Some(field) => {
                Self { start: position(end - field.len()), length: position(field.len()) }
            }
            None => Self { start: 0, length: u32::MAX },
        }
    }

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
    pub(super) rest: &'a [u8],
    /// How many records were not walked yet.
    pub(super) left: u32,
    /// The least offset delta that the next record may have.
    pub(super) delta_min: i64,
}

impl<'a> Walk<'a> {
    /// The next record, or `None` at the batch's end, where no bytes may be left.
    #[inline(always)]
    pub(super) fn next(&mut self, head: &Head) -> Result<Option<Parsed<'a>>, RecordFault> {
        if self.left == 0 {
            let bytes = self.rest.len();
            return if bytes == 0 { Ok(None) } else { Err(RecordFault::TrailingBytes { bytes }) };
        }
        let parsed = take(&mut self.rest)?;
        if parsed.headers.count != 0 || !parsed.headers.bytes.is_empty() {
            check_headers(parsed.headers)?;
        }
        let offset_delta = parsed.offset_delta;
        let delta = i64::from(offset_delta);
        if delta < self.delta_min || delta > head.last_offset - head.base_offset {
            return Err(RecordFault::OffsetOrder { offset_delta });
        }
        self.delta_min = delta + 1;
        self.left -= 1;
        Ok(Some(parsed))
    }
}

/// Takes one record; whether its headers are well-formed is not looked at.
#[inline(always)]
fn take<'a>(body: &mut &'a [u8]) -> Result<Parsed<'a>, Broken> {
    let length = varint::take_i32(body)?;
    let length = usize::try_from(length).map_err(|_| Broken::RecordLength)?;
    let Some((mut rest, after)) = body.split_at_checked(length) else {
        return Err(Broken::Truncated);
    };
    *body = after;
    let [_attributes, ref after @ ..] = *rest else {
        return Err(Broken::RecordLength);
    };
    rest = after;
    let timestamp_delta = varint::take_i64(&mut rest)?;
    let offset_delta = varint::take_i32(&mut rest)?;
    let key = take_field(&mut rest)?;
    let after_key = rest.len();
    let value = take_field(&mut rest)?;
    let after_value = rest.len();
    let count = varint::take_i32(&mut rest)?;
    let count = u32::try_from(count).map_err(|_| Broken::HeaderLength)?;
    let headers = Headers { count, bytes: rest };
    Ok(Parsed { timestamp_delta, offset_delta, key, value, headers, after_key, after_value })
}

/// The wire's -1 is no timestamp.
#[inline]
pub(super) fn timestamp(value: i64) -> Option<i64> {
    (value != -1).then_some(value)
}

/// Walks a record's headers: each whole, and nothing after the last.
fn check_headers(Headers { count, mut bytes }: Headers<'_>) -> Result<(), Broken> {
    for _ in 0..count {
        take_header(&mut bytes)?;
    }
    if bytes.is_empty() { Ok(()) } else { Err(Broken::RecordLength) }
}

#[inline]
fn take_header<'a>(bytes: &mut &'a [u8]) -> Result<Header<'a>, Broken> {
    let key = take_field(bytes)?.ok_or(Broken::HeaderLength)?;
    let value = take_field(bytes)?;
    Ok(Header { key, value })
}

/// Takes a length and as many bytes; a negative length is null, as in Kafka's
/// `DefaultRecord.readFrom`.
#[inline(always)]
fn take_field<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Broken> {
    let length = varint::take_i32(bytes)?;
    let Ok(length) = usize::try_from(length) else {
        return Ok(None);
    };
    let (field, rest) = bytes.split_at_checked(length).ok_or(Broken::RecordLength)?;
    *bytes = rest;
    Ok(Some(field))
}

/// The least bytes of a record: its length, attributes, two deltas, two null lengths, a header
/// count, of one byte each.
pub(super) const RECORD_LENGTH_MIN: usize = 7;
