//! Where a record comes from: the trace context that its producer put into the header
//! `traceparent`.

use std::fmt;
use std::str::FromStr;

/// A span of another process: W3C Trace Context, version 00.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TraceParent {
    /// The trace; not 0.
    pub trace_id: u128,
    /// The span in it; not 0.
    pub span_id: u64,
    /// Bit 0: the producer's span is recorded.
    pub flags: u8,
}

/// Not what a `traceparent` looks like. Treat the record as one without a context, as the
/// specification asks for (W3C Trace Context, 3.2.2.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected VERSION-TRACE-SPAN-FLAGS in hexadecimal, as in 00-…-…-01")]
pub struct InvalidTraceParent;

impl TraceParent {
    /// The header's name.
    pub const HEADER: &'static str = "traceparent";

    /// Of a record's headers; the last one counts, as a later producer's does. `None`: there is
    /// none, or it is invalid.
    pub fn of<'a>(headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Option<Self> {
        let named = |(key, value): (&[u8], Option<&'a [u8]>)| {
            if key == Self::HEADER.as_bytes() { value } else { None }
        };
        let value = headers.into_iter().filter_map(named).last()?;
        std::str::from_utf8(value).ok()?.parse().ok()
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let mut parts = text.splitn(5, '-');
        let mut next = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits);
            let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            let part = part.filter(|part| part.bytes().all(hexadecimal));
            part.and_then(|part| u128::from_str_radix(part, 16).ok()).ok_or(InvalidTraceParent)
        };
        let version = next(2)?;
        let (trace_id, span_id, flags) = (next(32)?, next(16)?, next(2)?);
        // A later version may say more behind; version ff is none.
        let is_over = parts.next().is_none();
        if version == 0xff || (version == 0 && !is_over) || trace_id == 0 || span_id == 0 {
            return Err(InvalidTraceParent);
        }
        let span_id = u64::try_from(span_id).map_err(|_| InvalidTraceParent)?;
        let flags = u8::try_from(flags).map_err(|_| InvalidTraceParent)?;
        Ok(Self { trace_id, span_id, flags })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::TraceParent;

    #[test]
    fn a_traceparent_is_read_as_it_is_written() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent: TraceParent = text.parse().expect("it is valid");
        assert_eq!((parent.span_id, parent.flags), (0x00f0_67aa_0ba9_02b7, 1));
        assert_eq!(parent.to_string(), text);
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert_eq!(later.parse(), Ok(parent));
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-011",
        ] {
            assert!(wrong.parse::<TraceParent>().is_err(), "{wrong:?}");
            let headers = [(&b"traceparent"[..], Some(wrong.as_bytes()))];
            assert_eq!(TraceParent::of(headers), None);
        }
    }
}
