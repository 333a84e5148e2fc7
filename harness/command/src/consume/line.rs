//! One line a record: for people, and as JSON.

use super::Taken;
use serde_json::{Value, json};
use std::fmt::Write;

/// `topic partition offset timestamp key value`, separated by single spaces.
pub(super) fn human(taken: &[Taken<'_>]) -> String {
    let mut text = String::new();
    for record in taken.iter().flat_map(Taken::iter) {
        let timestamp = record.timestamp_ms.map_or_else(|| "null".to_owned(), |ms| ms.to_string());
        let key =
            record.key.map_or_else(|| "null".into(), |key| escaped(key).replace(' ', "\\x20"));
        let value = record.value.map_or_else(|| "null".into(), escaped);
        let (topic, partition, offset) = (record.topic, record.partition, record.offset.0);
        writeln!(text, "{topic} {partition} {offset} {timestamp} {key} {value}")
            .expect("a String takes everything");
    }
    text
}

/// The same with headers, one JSON object a line.
pub(super) fn json(taken: &[Taken<'_>]) -> String {
    let mut text = String::new();
    for record in taken.iter().flat_map(Taken::iter) {
        let headers = record.headers.iter();
        let headers = headers.map(
            |header| json!({"key": json_text(header.key), "value": header.value.map(json_text)}),
        );
        let object = json!({
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset.0,
            "timestamp": record.timestamp_ms,
            "key": record.key.map(json_text),
            "value": record.value.map(json_text),
            "headers": headers.collect::<Vec<_>>(),
        });
        writeln!(text, "{object}").expect("a String takes everything");
    }
    text
}

/// Text as it is; other bytes as `{"hex": "…"}`.
fn json_text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "hex": hex(bytes) }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Printable text as it is; a backslash doubled; control characters and what is no UTF-8 as escapes.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' || character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("a String takes everything");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{escaped, json_text};
    use serde_json::json;

    #[test]
    fn a_value_stays_on_its_line() {
        assert_eq!(escaped("grün, 5 €".as_bytes()), "grün, 5 €");
        assert_eq!(escaped(b"a\nb\tc\\d"), "a\\nb\\tc\\\\d");
        assert_eq!(escaped(b"\x00ok\xff\xfe"), "\\u{0}ok\\xff\\xfe");
    }

    #[test]
    fn bytes_that_are_no_text_are_told_as_hex() {
        assert_eq!(json_text(b"plain"), json!("plain"));
        assert_eq!(json_text(b"\xff\x00"), json!({"hex": "ff00"}));
    }
}
