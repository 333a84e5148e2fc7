//! Lines of JSON, written by hand: a recorder has few kinds of values, and the client no need of a
//! parser.

use evenkeel_core::Time;
use evenkeel_spec::words::{
    Committed, LeaderEpoch, Partitions, TopicId, TopicIdPartition, TopicPartition,
};
use std::fmt::{Display, Write};

/// One line: an object that is being written.
pub(super) struct Line<'a>(&'a mut String);

impl<'a> Line<'a> {
    /// An object without fields yet but this one.
    pub(super) fn begin(text: &'a mut String, name: &str, value: impl Display) -> Self {
        put(text, format_args!("{{\"{name}\":{value}"));
        Self(text)
    }

    /// Something that happened at this date.
    pub(super) fn event(text: &'a mut String, at: Time, event: &str) -> Self {
        Self::begin(text, "t", at.0).text("event", event)
    }

    /// A number, or `true` or `false`.
    pub(super) fn plain(self, name: &str, value: impl Display) -> Self {
        put(self.0, format_args!(",\"{name}\":{value}"));
        self
    }

    /// Text.
    pub(super) fn text(self, name: &str, value: &str) -> Self {
        self.field(name, |text| quote(text, value))
    }

    /// Each of them as text.
    pub(super) fn texts<T: Display>(self, name: &str, all: impl IntoIterator<Item = T>) -> Self {
        self.field(name, |text| {
            each(text, '[', ']', all, |text, one| quote(text, &one.to_string()));
        })
    }

    /// Partitions by topic id.
    pub(super) fn partitions(self, name: &str, partitions: &Partitions) -> Self {
        self.texts(name, partitions.iter().map(|partition| by_id(*partition)))
    }

    /// An object whose fields are named by `key` and written by `value`.
    pub(super) fn object<K, V>(
        self,
        name: &str,
        all: impl IntoIterator<Item = (K, V)>,
        key: impl Fn(&K) -> String,
        value: impl Fn(&mut String, &V),
    ) -> Self {
        self.field(name, |text| {
            each(text, '{', '}', all, |text, (k, v)| {
                quote(text, &key(&k));
                text.push(':');
                value(text, &v);
            });
        })
    }

    /// An array of what `one` writes.
    pub(super) fn array<T>(
        self,
        name: &str,
        all: impl IntoIterator<Item = T>,
        one: impl Fn(&mut String, T),
    ) -> Self {
        self.field(name, |text| each(text, '[', ']', all, one))
    }

    /// Ends the line.
    pub(super) fn end(self) {
        self.0.push_str("}\n");
    }

    fn field(self, name: &str, value: impl FnOnce(&mut String)) -> Self {
        put(self.0, format_args!(",\"{name}\":"));
        value(self.0);
        self
    }
}

/// A partition as `<32 hex digits>-<index>`.
pub(super) fn by_id(partition: TopicIdPartition) -> String {
    format!("{}-{}", topic(partition.topic), partition.partition)
}

/// A topic id as 32 hex digits.
pub(super) fn topic(id: TopicId) -> String {
    format!("{:032x}", u128::from_be_bytes(id.0))
}

/// Where a partition goes on: `{"offset":5,"leader_epoch":2,"metadata":"…"}`, less what it lacks.
pub(super) fn committed(text: &mut String, committed: &Committed) {
    let mut line = Line::begin(text, "offset", committed.offset.0);
    if let Some(LeaderEpoch(epoch)) = committed.leader_epoch {
        line = line.plain("leader_epoch", epoch);
    }
    if !committed.metadata.is_empty() {
        line = line.text("metadata", &committed.metadata);
    }
    line.0.push('}');
}

/// `{"partition":"t-0","count":5,"next":10}`.
pub(super) fn part(text: &mut String, partition: &TopicPartition, count: usize, next: u64) {
    text.push_str("{\"partition\":");
    quote(text, &partition.to_string());
    put(text, format_args!(",\"count\":{count},\"next\":{next}}}"));
}

fn each<T>(
    text: &mut String,
    open: char,
    close: char,
    all: impl IntoIterator<Item = T>,
    one: impl Fn(&mut String, T),
) {
    text.push(open);
    for (at, value) in all.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        one(text, value);
    }
    text.push(close);
}

/// Text between quotes, with what JSON does not allow there escaped (RFC 8259, section 7).
fn quote(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            control if control < ' ' => put(text, format_args!("\\u{:04x}", control as u32)),
            other => text.push(other),
        }
    }
    text.push('"');
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::Line;

    #[test]
    fn text_of_any_kind_stays_on_its_line_and_can_be_read_back() {
        let mut text = String::new();
        let hostile = "a\"b\\c\nd\u{1}é";
        Line::begin(&mut text, "run", 1).text("group", hostile).texts("none", [""; 0]).end();
        assert_eq!(text, "{\"run\":1,\"group\":\"a\\\"b\\\\c\\u000ad\\u0001é\",\"none\":[]}\n");
    }
}
