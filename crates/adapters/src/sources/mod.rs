//! The kinds of sources: one file each, and one word each in [`KINDS`].

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use distributary_core::source::Source;
use distributary_kinesis::client::StreamDescription;
use serde::de::DeserializeOwned;
use toml::Table;

use crate::keys::{Key, fields_of};
use crate::kind::{
    BuildContext, BuildError, Finding, Functions, Kind, Permission, Surroundings, Target,
};
use crate::values::Expected;

crate::kind::kinds! {
    /// Every kind of source, the default one first.
    pub const KINDS: &[Kind<SourceSettings>] = of_source[kinesis];
}

/// The settings of one source of some kind, as serde reads them. A kind implements this in a file
/// of its own.
#[async_trait]
pub trait SourceKind: DeserializeOwned + Clone + Debug + PartialEq + Send + Sync + 'static {
    /// The word for the kind.
    const NAME: &'static str;
    /// One sentence for the reference.
    const SUMMARY: &'static str;
    /// The kind's own keys: one for each field of the struct, with the same name.
    const KEYS: &'static [Key];

    /// The table of keys that the part after the colon of `KIND:REST` stands for.
    ///
    /// # Errors
    /// [`Expected`] if the kind does not take the rest.
    fn shorthand(rest: &str) -> Result<Table, Expected>;

    /// True if settings with the own keys in `table` take the inherited value of `key`, which
    /// `table` has not.
    fn inherits(table: &Table, key: &str) -> bool {
        let (_, _) = (table, key);
        true
    }

    /// The fan-out's name where the user gave none.
    fn default_name(&self) -> String;

    /// The place that is read from, comparable with the targets of outputs. No I/O.
    fn target(&self, surroundings: &Surroundings) -> Target;

    /// True if the stream with this ARN is read, as far as the settings tell. No I/O.
    fn reads(&self, arn: &str) -> bool;

    /// Everything that is wrong with the settings, each in one sentence. No I/O.
    fn validate(&self, surroundings: &Surroundings) -> Vec<String>;

    /// The least permissions that a role needs for this; none where IAM has no say. No I/O.
    fn permissions(&self) -> Vec<Permission> {
        Vec::new()
    }

    /// Connects, and makes the source.
    ///
    /// # Errors
    /// [`BuildError`].
    async fn build(&self, context: &BuildContext) -> Result<BuiltSource, BuildError>;

    /// Looks whether the source can be read.
    async fn check(&self, context: &BuildContext) -> Vec<Finding>;
}

/// A source, ready for the engine.
pub struct BuiltSource {
    /// The source.
    pub source: Arc<dyn Source>,
    /// A text that is equal for an output and a source that turned out to be one place.
    pub identity: String,
    /// The stream, if the source is one: missing outputs are created alike.
    pub stream: Option<StreamDescription>,
}

/// The settings of a source of any kind.
#[derive(Clone, Debug)]
pub struct SourceSettings(Arc<dyn AnySource>);

impl PartialEq for SourceSettings {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(&*other.0)
    }
}

impl SourceSettings {
    /// Hides the type of `settings`.
    pub fn new<K: SourceKind>(settings: K) -> Self {
        Self(Arc::new(settings))
    }

    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        self.0.kind()
    }

    /// As [`SourceKind::default_name`].
    pub fn default_name(&self) -> String {
        self.0.default_name()
    }

    /// As [`SourceKind::target`].
    pub fn target(&self, surroundings: &Surroundings) -> Target {
        self.0.target(surroundings)
    }

    /// As [`SourceKind::reads`].
    pub fn reads(&self, arn: &str) -> bool {
        self.0.reads(arn)
    }

    /// As [`SourceKind::validate`].
    pub fn validate(&self, surroundings: &Surroundings) -> Vec<String> {
        self.0.validate(surroundings)
    }

    /// As [`SourceKind::permissions`].
    pub fn permissions(&self) -> Vec<Permission> {
        self.0.permissions()
    }

    /// As [`SourceKind::build`].
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn build(&self, context: &BuildContext) -> Result<BuiltSource, BuildError> {
        self.0.build(context).await
    }

    /// As [`SourceKind::check`].
    pub async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        self.0.check(context).await
    }
}

/// [`SourceKind`] without its type.
#[async_trait]
trait AnySource: Debug + Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn equals(&self, other: &dyn AnySource) -> bool;
    fn kind(&self) -> &'static str;
    fn default_name(&self) -> String;
    fn target(&self, surroundings: &Surroundings) -> Target;
    fn reads(&self, arn: &str) -> bool;
    fn permissions(&self) -> Vec<Permission>;
    fn validate(&self, surroundings: &Surroundings) -> Vec<String>;
    async fn build(&self, context: &BuildContext) -> Result<BuiltSource, BuildError>;
    async fn check(&self, context: &BuildContext) -> Vec<Finding>;
}

#[async_trait]
impl<K: SourceKind> AnySource for K {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn equals(&self, other: &dyn AnySource) -> bool {
        other.as_any().downcast_ref() == Some(self)
    }

    fn kind(&self) -> &'static str {
        K::NAME
    }

    fn default_name(&self) -> String {
        SourceKind::default_name(self)
    }

    fn target(&self, surroundings: &Surroundings) -> Target {
        SourceKind::target(self, surroundings)
    }

    fn reads(&self, arn: &str) -> bool {
        SourceKind::reads(self, arn)
    }

    fn validate(&self, surroundings: &Surroundings) -> Vec<String> {
        SourceKind::validate(self, surroundings)
    }

    fn permissions(&self) -> Vec<Permission> {
        SourceKind::permissions(self)
    }

    async fn build(&self, context: &BuildContext) -> Result<BuiltSource, BuildError> {
        SourceKind::build(self, context).await
    }

    async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        SourceKind::check(self, context).await
    }
}

impl Kind<SourceSettings> {
    /// The kind whose settings are `K`.
    pub const fn of_source<K: SourceKind>() -> Self {
        Self::built_in(
            K::NAME,
            K::SUMMARY,
            K::KEYS,
            Functions {
                shorthand: K::shorthand,
                inherits: K::inherits,
                fields: fields_of::<K>,
                parse: |table| K::deserialize(table).map(SourceSettings::new),
            },
        )
    }
}
