//! A kind of output or source as the configuration sees it: a name, a table of keys, and functions
//! that make settings.
//!
//! The settings of a kind are one serde struct in one file, which implements
//! [`OutputKind`](crate::outputs::OutputKind) or [`SourceKind`](crate::sources::SourceKind).
//! [`Kind`] hides the struct's type.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use distributary_core::clock::{Clock, Millis};
use distributary_core::output::Trouble;
use distributary_kinesis::client::StreamDescription;
use distributary_kinesis::config::{ConnectError, Connector};
use tokio::sync::watch;
use toml::Table;

use crate::keys::Key;
use crate::values::{Expected, Name, nearest};

/// One kind; `S` is [`OutputSettings`](crate::outputs::OutputSettings) or
/// [`SourceSettings`](crate::sources::SourceSettings).
#[derive(Clone, Copy)]
pub struct Kind<S> {
    /// The word in `type = "…"` and before the colon of a shorthand.
    pub name: &'static str,
    /// One sentence for the reference.
    pub summary: &'static str,
    /// The kind's own keys, without keys that all kinds have.
    pub keys: &'static [Key],
    /// Keys with the values that they have at a place for dead letters where the user gave none.
    pub dead_letter_defaults: &'static [(&'static str, &'static str)],
    /// The key that names one place, if the places of this kind can be listed.
    pub listed_by: Option<&'static str>,
    /// The cargo feature that the kind needs, if the kind needs one.
    pub feature: Option<Feature>,
    functions: Functions<S>,
}

/// A cargo feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The name, as `--features` takes a name.
    pub name: &'static str,
    /// True if this build was made with the feature.
    pub is_on: bool,
}

/// The functions of a kind's settings.
#[derive(Clone, Copy)]
pub(crate) struct Functions<S> {
    /// Reads the part after the colon of a shorthand.
    pub(crate) shorthand: fn(&str) -> Result<Table, Expected>,
    /// Tells whether settings with these own keys take the inherited value of another key.
    pub(crate) inherits: fn(&Table, &str) -> bool,
    /// The fields of the settings.
    pub(crate) fields: fn() -> &'static [&'static str],
    /// Reads a table of the kind's own keys.
    pub(crate) parse: fn(Table) -> Result<S, toml::de::Error>,
}

/// Declares a module for each word, and the list of the kinds in them. A kind that needs a cargo
/// feature is written `word if "feature"`: a build without the feature knows the kind's keys, and
/// using the kind is an error that names the feature.
macro_rules! kinds {
    (
        $(#[$attribute:meta])*
        pub const $list:ident: $type:ty = $of:ident[$($module:ident $(if $feature:literal)?),+];
    ) => {
        $(pub mod $module;)+

        $(#[$attribute])*
        pub const $list: $type = &[
            $(
                Kind::$of::<$module::Settings>()
                    $(.with_feature($feature, cfg!(feature = $feature)))?,
            )+
        ];
    };
}

pub(crate) use kinds;

impl<S> fmt::Debug for Kind<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({})", self.name)
    }
}

impl<S> Kind<S> {
    pub(crate) const fn built_in(
        name: &'static str,
        summary: &'static str,
        keys: &'static [Key],
        functions: Functions<S>,
    ) -> Self {
        Self {
            name,
            summary,
            keys,
            dead_letter_defaults: &[],
            listed_by: None,
            feature: None,
            functions,
        }
    }

    pub(crate) const fn with_dead_letter_defaults(
        self,
        dead_letter_defaults: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self {
            dead_letter_defaults,
            ..self
        }
    }

    pub(crate) const fn with_listed_by(self, listed_by: Option<&'static str>) -> Self {
        Self { listed_by, ..self }
    }

    /// The kind as one that needs a cargo feature. Without the feature, naming the kind is an
    /// error.
    pub const fn with_feature(self, name: &'static str, is_on: bool) -> Self {
        let feature = Some(Feature { name, is_on });
        Self { feature, ..self }
    }

    /// True if this build has the kind.
    pub fn is_built_in(&self) -> bool {
        self.feature.is_none_or(|feature| feature.is_on)
    }

    fn functions(&self) -> Result<&Functions<S>, Expected> {
        match self.feature {
            Some(feature) if !feature.is_on => Err(Expected(format!(
                "{} is not in this build: it needs the cargo feature {feature}; use a released \
                 binary, or build with --features {feature}",
                self.name,
                feature = feature.name
            ))),
            Some(_) | None => Ok(&self.functions),
        }
    }

    /// The table of keys that `rest`, the part after the colon of a shorthand, stands for.
    ///
    /// # Errors
    /// [`Expected`] if the kind does not take `rest`, or if this build has not the kind.
    pub fn shorthand(&self, rest: &str) -> Result<Table, Expected> {
        (self.functions()?.shorthand)(rest)
    }

    /// True if settings with the keys of `table` take the inherited value of `key`.
    pub fn inherits(&self, table: &Table, key: &str) -> bool {
        (self.functions.inherits)(table, key)
    }

    /// The names of the settings' fields, which [`Kind::keys`] describes.
    pub fn fields(&self) -> &'static [&'static str] {
        (self.functions.fields)()
    }

    /// The settings in `table`, which holds keys of [`Kind::keys`] only.
    ///
    /// # Errors
    /// [`Expected`] with serde's message, or if this build has not the kind.
    pub fn parse(&self, table: Table) -> Result<S, Expected> {
        let parse = self.functions()?.parse;
        parse(table).map_err(|error| Expected(error.message().to_owned()))
    }
}

/// The kind called `name`.
///
/// # Errors
/// [`Expected`] with the kinds that there are, and the nearest one; or with the feature that a kind
/// needs.
pub fn find<'a, S>(kinds: &'a [Kind<S>], name: &str) -> Result<&'a Kind<S>, Expected> {
    if let Some(kind) = kinds.iter().find(|kind| kind.name == name) {
        kind.functions()?;
        return Ok(kind);
    }

    let names = || kinds.iter().map(|kind| kind.name);
    let hint = nearest(name, names()).map_or_else(
        || format!("expected one of {}", names().collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean {near:?}?"),
    );
    Err(Expected(format!("{name:?} is no kind; {hint}")))
}

/// A shorthand taken apart: `[NAME=]KIND:REST`, a kind alone, or a stream's name or ARN.
#[derive(Clone, Debug, PartialEq)]
pub struct Shorthand {
    /// A name of the user's choice.
    pub name: Option<Name>,
    /// The kind's name.
    pub kind: &'static str,
    /// The keys of the kind that the rest stands for.
    pub table: Table,
}

impl Shorthand {
    /// Reads `text`. The first of `kinds` takes texts that name no kind.
    ///
    /// # Errors
    /// [`Expected`] if the kind is not known, or does not take the rest.
    pub fn parse<S>(text: &str, kinds: &[Kind<S>]) -> Result<Self, Expected> {
        let (name, target) = named(text);
        let Some(default) = kinds.first() else {
            return Err(Expected::new("this build has no kinds"));
        };

        let (kind, rest) = match target.split_once(':') {
            // An ARN has colons, and names no kind.
            _ if target.starts_with("arn:") => (default, target),
            Some((kind, rest)) => (find(kinds, kind)?, rest),
            None => match kinds.iter().find(|kind| kind.name == target) {
                Some(kind) => (kind, ""),
                None => (default, target),
            },
        };
        Ok(Self {
            name,
            kind: kind.name,
            table: kind.shorthand(rest)?,
        })
    }
}

/// Splits `NAME=` off. An equals sign after a character that no name has belongs to the target (a
/// path, an address).
fn named(text: &str) -> (Option<Name>, &str) {
    text.split_once('=')
        .and_then(|(name, target)| Some((Some(name.parse().ok()?), target)))
        .unwrap_or((None, text))
}

/// A text that tells two targets apart: outputs with equal targets write to one place, as far as
/// settings tell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The kind and all settings that decide about the place.
    pub text: String,
    /// True: no second output of the process may have the same target, not even one of another
    /// fan-out.
    pub exclusive: bool,
}

/// Facts about the process and the fan-out that settings are checked against, without I/O.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// True: the Kinesis streams are in a server embedded in this process, which has no
    /// credentials.
    pub embedded: bool,
}

/// Everything that building a source or an output may use.
#[derive(Clone, Debug)]
pub struct BuildContext {
    /// Time.
    pub clock: Clock,
    /// Clients of Kinesis, one for all that connect alike.
    pub connector: Arc<Connector>,
    /// Facts about the process.
    pub surroundings: Surroundings,
    /// The source's stream, if the source is one: missing outputs are created alike.
    pub like: Option<StreamDescription>,
    /// For an output that makes going on pointless, such as one whose reader is gone.
    pub ending: Ending,
}

/// A request to end the process in an orderly way.
#[derive(Clone, Debug)]
pub struct Ending(Arc<watch::Sender<Option<String>>>);

impl Default for Ending {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Ending {
    /// Asks for the end; `reason` is one sentence for the user. The first reason counts.
    pub fn request(&self, reason: &str) {
        self.0.send_if_modified(|current| {
            let is_first = current.is_none();
            if is_first {
                *current = Some(reason.to_owned());
            }
            is_first
        });
    }

    /// Completes with the reason when the end has been requested.
    pub async fn requested(&self) -> String {
        let mut reasons = self.0.subscribe();
        loop {
            if let Some(reason) = reasons.borrow_and_update().clone() {
                return reason;
            }
            // The sender lives as long as `self`.
            if reasons.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The reason why a source or an output could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The settings, or the environment's, lead nowhere: no region, a bad endpoint.
    #[error(transparent)]
    Settings(#[from] ConnectError),
    /// The kind needs a cargo feature that this build does not have.
    #[error("{0} is not in this build; use a released binary")]
    LeftOut(&'static str),
    /// The service answered with an error, or not at all.
    #[error("{message}")]
    Failed {
        /// The failed step and the service's message.
        message: String,
        /// The service's answer.
        #[source]
        source: Trouble,
    },
    /// The operating system refused something.
    #[error("{message}")]
    System {
        /// The failed step, and the remedy.
        message: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// A place in a list of places: a stream, a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPlace {
    /// The name.
    pub name: String,
    /// The text that tells the place from all others, such as an ARN, where the service has one.
    pub identity: Option<String>,
    /// The creation time, where the service returns one.
    pub created: Option<Millis>,
    /// True if the place is being deleted.
    pub is_going: bool,
}

/// Tags of a place, by key.
pub type Tags = BTreeMap<String, String>;

/// Actions that a role needs at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The role that is assumed; `None`: the credentials that the program finds.
    pub role: Option<String>,
    /// Actions as IAM names them, such as `kinesis:PutRecords`.
    pub actions: Vec<&'static str>,
    /// The place's ARN, with `*` for parts that the settings leave open.
    pub resource: String,
}

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// In order.
    Fine,
    /// Works, with a drawback.
    Warning,
    /// Does not work.
    Failure,
}

/// One result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The checked thing: a stream, a file.
    pub subject: String,
    /// One sentence about the state.
    pub finding: String,
    /// How serious that is.
    pub severity: Severity,
    /// The remedy; empty if none is needed.
    pub advice: String,
}

impl Finding {
    /// The finding that `subject` is in order.
    pub fn fine(subject: &str, finding: String) -> Self {
        Self {
            subject: subject.to_owned(),
            finding,
            severity: Severity::Fine,
            advice: String::new(),
        }
    }

    /// The finding that `subject` does not work.
    pub fn failure(subject: &str, finding: String) -> Self {
        Self {
            subject: subject.to_owned(),
            finding,
            severity: Severity::Failure,
            advice: "check the name, the region, the credentials and the role".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::outputs::KINDS;

    use super::*;

    fn parsed(text: &str) -> Shorthand {
        Shorthand::parse(text, KINDS).unwrap()
    }

    fn stream(shorthand: &Shorthand) -> Option<&str> {
        shorthand.table.get("stream")?.as_str()
    }

    #[test]
    fn names_and_arns_are_streams() {
        let plain = parsed("orders");
        assert_eq!((plain.kind, stream(&plain)), ("kinesis", Some("orders")));

        let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";
        let named = parsed(&format!("eu={arn}"));
        assert_eq!(named.name, Some(Name("eu".to_owned())));
        assert_eq!((named.kind, stream(&named)), ("kinesis", Some(arn)));
    }

    #[test]
    fn the_word_before_the_colon_is_a_kind() {
        let file = parsed("copy=file:a=b.jsonl");
        assert_eq!(file.name, Some(Name("copy".to_owned())));
        assert_eq!(file.table.get("path").unwrap().as_str(), Some("a=b.jsonl"));

        assert_eq!(parsed("stdout").kind, "stdout");
        assert_eq!(stream(&parsed("kinesis:stdout")), Some("stdout"));
        assert_eq!(parsed("file:/tmp/a=b").name, None);
    }

    #[test]
    fn mistakes_are_told() {
        let told = |text| Shorthand::parse(text, KINDS).unwrap_err().0;
        assert!(told("kinesiss:a").contains("did you mean \"kinesis\"?"));
        assert!(told("zzzzz:a").contains("expected one of kinesis, dynamodb, "));
        assert!(told("stdout:a").contains("nothing after"));
        assert!(told("file").contains("file:PATH"));
        assert!(told("a=b=c").contains("names no stream"));
        assert!(told("kinesis").contains("kinesis:NAME"));
    }

    #[test]
    fn a_kind_that_was_left_out_names_its_feature() {
        let kinds = [KINDS[0].clone().with_feature("streams", false)];
        let told = find(&kinds, "kinesis").unwrap_err().0;
        assert!(told.contains("--features streams"), "{told}");
    }

    #[tokio::test]
    async fn the_first_reason_to_end_counts() {
        let ending = Ending::default();
        ending.request("one");
        ending.request("two");
        assert_eq!(ending.requested().await, "one");
    }
}
