//! Text as stderr may show it: without secrets, without control characters, and bounded.

use distributary_core::secrets;

/// Bytes of the longest log line.
const LINE_MAX: usize = 16 * 1024;
/// Bytes of a value in a JSON line that would be too long.
const VALUE_MAX: usize = 1024;

/// A message for the user; its line breaks and tabs stay.
pub(super) fn of_message(message: &str) -> String {
    let is_unsafe = |c: char| c.is_control() && c != '\n' && c != '\t';
    let mut text = secrets::redact(message).replace(is_unsafe, " ");
    text.push('\n');
    text
}

/// A log line, in text or JSON, with one line break: at its end. Escape characters stay, for they
/// are the colours that the formatter sets; the formatter escapes those of values.
pub(super) fn of_log(line: &str) -> String {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let is_unsafe = |c: char| c.is_control() && c != '\x1b';
    let mut text = secrets::redact(line).replace(is_unsafe, " ");

    if text.len() > LINE_MAX {
        text = bounded(&text);
    }
    text.push('\n');
    text
}

/// A log line that was too long.
fn bounded(line: &str) -> String {
    let value = serde_json::from_str(line);
    match value {
        Ok(value) => {
            let value = shortened(value);
            value.to_string()
        }
        Err(_) => cut(line, LINE_MAX),
    }
}

fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(bytes)])
}

/// A JSON line whose longest values are cut.
fn shortened(line: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;

    match line {
        Value::String(text) => Value::String(cut(&text, VALUE_MAX)),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, shortened(value)))
            .collect(),
        Value::Array(values) => values.into_iter().map(shortened).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_is_one_line_of_bounded_length() {
        assert_eq!(of_log("INFO a\nERROR forged\r\n"), "INFO a ERROR forged \n");
        assert_eq!(of_log("\x1b[32mINFO\x1b[0m a\n"), "\x1b[32mINFO\x1b[0m a\n");

        let long = "ü".repeat(100_000);
        assert!(of_log(&long).len() < LINE_MAX + 8);
        let json = serde_json::json!({ "message": "m", "error": long }).to_string();
        let value: serde_json::Value = serde_json::from_str(&of_log(&json)).unwrap();
        assert_eq!(value["message"], "m");
        assert!(value["error"].as_str().unwrap().len() < VALUE_MAX + 8);
    }

    #[test]
    fn a_message_keeps_its_lines_only() {
        assert_eq!(of_message("a\n\tb\x1b[2J\r"), "a\n\tb [2J \n");
    }
}
