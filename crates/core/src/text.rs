//! Errors as text for people.

use std::error::Error;
use std::fmt::Write as _;

use crate::output::Trouble;
use crate::secrets;

/// The text of `error` followed by the texts of the errors that caused it, separated by colons.
///
/// A cause is left out if the text already contains it. A [`Trouble`] is one sentence for the user
/// which covers its own causes, so the chain ends there.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut current = error;

    while !current.is::<Trouble>()
        && let Some(cause) = current.source()
    {
        let more = cause.to_string();
        if !text.contains(&more) {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {more}");
        }
        current = cause;
    }

    text
}

/// Bytes of a message of a server or a library that are kept.
const MESSAGE_MAX: usize = 2048;
/// Beginnings of the part of a refusal that repeats the request as signed, tokens included.
const CANONICAL: [&str; 2] = [
    "The Canonical String for this request",
    "The String-to-Sign",
];

/// A message with foreign parts, safe to print: without secrets, without the repeated request of a
/// refused signature, on one line, and at most 2 KiB long.
pub fn clean(message: &str) -> String {
    let end = CANONICAL
        .iter()
        .filter_map(|start| message.find(start))
        .min();
    let message = end.map_or(message, |end| message[..end].trim_end());

    let mut text = secrets::redact(message).replace(char::is_control, " ");
    if text.len() > MESSAGE_MAX {
        text.truncate(text.floor_char_boundary(MESSAGE_MAX));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::TroubleKind;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    }

    fn layer(text: &'static str, source: impl Error + Send + Sync + 'static) -> Layer {
        let source = Some(Box::new(source) as _);
        Layer { text, source }
    }

    #[test]
    fn each_cause_appears_once() {
        let root = Layer {
            text: "disk full",
            source: None,
        };
        let error = layer("cannot start", layer("cannot write: disk full", root));
        assert_eq!(chain(&error), "cannot start: cannot write: disk full");
    }

    #[test]
    fn a_trouble_ends_the_chain() {
        let cause = std::io::Error::other("connection refused");
        let trouble = Trouble::new(TroubleKind::Unavailable, "the server did not answer");
        let error = layer("cannot read", trouble.caused_by(cause));
        assert_eq!(chain(&error), "cannot read: the server did not answer");
    }

    #[test]
    fn a_foreign_message_is_one_short_line_without_the_signed_request() {
        let refusal = "The signature does not match.\n\nThe Canonical String for this request should \
                       have been 'POST\n/\n\nx-amz-security-token:t'";
        assert_eq!(clean(refusal), "The signature does not match.");
        assert_eq!(clean("a\nERROR forged\x1b[2J"), "a ERROR forged [2J");
        assert!(clean(&"ü".repeat(100_000)).len() < MESSAGE_MAX + 8);
    }
}
