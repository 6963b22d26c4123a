//! Errors as text for people.

use std::error::Error;
use std::fmt::Write as _;

use crate::output::Trouble;

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
}
