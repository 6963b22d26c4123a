//! The kinds of outputs: one file each, and one word each in [`KINDS`].

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use distributary_core::output::{KeepsOrder, Output};
use distributary_core::pump::PumpRef;
use serde::de::DeserializeOwned;
use toml::Table;

use crate::keys::{Key, fields_of};
use crate::kind::{
    BuildContext, BuildError, Finding, Functions, Kind, ListedPlace, Permission, Surroundings,
    Tags, Target,
};
use crate::values::Expected;

crate::kind::kinds! {
    /// Every kind of output, the default one first. A kind of output is added by one word here; a
    /// kind that needs a cargo feature is written `word if "feature"`.
    pub const KINDS: &[Kind<OutputSettings>] = of_output[
        kinesis, dynamodb if "dynamodb", eventbridge if "eventbridge", file,
        firehose if "firehose", http, iot if "iot", lambda if "lambda", memcached, redis if "redis", s3 if "s3", sns if "sns",
        sqs if "sqs", stdout
    ];
}

/// The settings of one output of some kind, as serde reads them. A kind implements this in a file
/// of its own.
#[async_trait]
pub trait OutputKind: DeserializeOwned + Clone + Debug + PartialEq + Send + Sync + 'static {
    /// The word for the kind.
    const NAME: &'static str;
    /// One sentence for the reference.
    const SUMMARY: &'static str;
    /// The kind's own keys: one for each field of the struct, with the same name.
    const KEYS: &'static [Key];
    /// Keys with the values that they have at a place for dead letters where the user gave none.
    /// The data of a dead letter is one line of JSON.
    const DEAD_LETTER_DEFAULTS: &'static [(&'static str, &'static str)] = &[];

    /// The key that names one place, if the places of this kind can be listed.
    const LISTED_BY: Option<&'static str> = None;

    /// The table of keys that the part after the colon of `KIND:REST` stands for; `rest` is empty
    /// for `KIND` alone.
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

    /// The output's name where the user gave none.
    fn default_name(&self) -> String;

    /// The place that is written to. No I/O.
    fn target(&self, surroundings: &Surroundings) -> Target;

    /// The order per partition key that the output can keep. No I/O.
    fn keeps(&self) -> KeepsOrder;

    /// Everything that is wrong with the settings, each in one sentence. No I/O.
    fn validate(&self, surroundings: &Surroundings) -> Vec<String>;

    /// The least permissions that a role needs for this; none where IAM has no say. No I/O.
    fn permissions(&self) -> Vec<Permission> {
        Vec::new()
    }

    /// Connects, and makes the output. By default for a kind whose cargo feature is off.
    ///
    /// # Errors
    /// [`BuildError`].
    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        let _ = context;
        Err(BuildError::LeftOut(Self::NAME))
    }

    /// Looks whether the output would work, without writing to it.
    async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        let _ = context;
        Vec::new()
    }

    /// Every place of this kind that the account and region of these settings have; the place of
    /// the settings themselves means nothing.
    ///
    /// # Errors
    /// [`BuildError`]; a list that is cut short is one.
    async fn list(&self, context: &BuildContext) -> Result<Vec<ListedPlace>, BuildError> {
        let _ = context;
        Ok(Vec::new())
    }

    /// The tags of the place; `None` if the service says that there is no such place.
    ///
    /// # Errors
    /// [`BuildError`].
    async fn tags(&self, context: &BuildContext) -> Result<Option<Tags>, BuildError> {
        let _ = context;
        Ok(Some(Tags::new()))
    }

    /// True if the service says that the place does not exist, or is being deleted. A question that
    /// fails says no such thing.
    async fn is_gone(&self, context: &BuildContext) -> bool {
        let _ = context;
        false
    }
}

/// An output, ready for the engine.
pub struct BuiltOutput {
    /// The output.
    pub output: Arc<dyn Output>,
    /// The pump whose rows the output takes in place of the records, if the settings ask for one.
    pub pump: Option<PumpRef>,
    /// A text that is equal for two outputs, or a source and an output, that turned out to be one
    /// place.
    pub identity: String,
}

/// The settings of an output of any kind.
#[derive(Clone, Debug)]
pub struct OutputSettings(Arc<dyn AnyOutput>);

impl PartialEq for OutputSettings {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(&*other.0)
    }
}

impl OutputSettings {
    /// Hides the type of `settings`.
    pub fn new<K: OutputKind>(settings: K) -> Self {
        Self(Arc::new(settings))
    }

    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        self.0.kind()
    }

    /// As [`OutputKind::default_name`].
    pub fn default_name(&self) -> String {
        self.0.default_name()
    }

    /// As [`OutputKind::target`].
    pub fn target(&self, surroundings: &Surroundings) -> Target {
        self.0.target(surroundings)
    }

    /// As [`OutputKind::keeps`].
    pub fn keeps(&self) -> KeepsOrder {
        self.0.keeps()
    }

    /// As [`OutputKind::validate`].
    pub fn validate(&self, surroundings: &Surroundings) -> Vec<String> {
        self.0.validate(surroundings)
    }

    /// As [`OutputKind::permissions`].
    pub fn permissions(&self) -> Vec<Permission> {
        self.0.permissions()
    }

    /// As [`OutputKind::build`].
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        self.0.build(context).await
    }

    /// As [`OutputKind::check`].
    pub async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        self.0.check(context).await
    }

    /// As [`OutputKind::list`].
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn list(&self, context: &BuildContext) -> Result<Vec<ListedPlace>, BuildError> {
        self.0.list(context).await
    }

    /// As [`OutputKind::tags`].
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn tags(&self, context: &BuildContext) -> Result<Option<Tags>, BuildError> {
        self.0.tags(context).await
    }

    /// As [`OutputKind::is_gone`].
    pub async fn is_gone(&self, context: &BuildContext) -> bool {
        self.0.is_gone(context).await
    }
}

/// [`OutputKind`] without its type.
#[async_trait]
trait AnyOutput: Debug + Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn equals(&self, other: &dyn AnyOutput) -> bool;
    fn kind(&self) -> &'static str;
    fn default_name(&self) -> String;
    fn target(&self, surroundings: &Surroundings) -> Target;
    fn keeps(&self) -> KeepsOrder;
    fn permissions(&self) -> Vec<Permission>;
    fn validate(&self, surroundings: &Surroundings) -> Vec<String>;
    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError>;
    async fn check(&self, context: &BuildContext) -> Vec<Finding>;
    async fn list(&self, context: &BuildContext) -> Result<Vec<ListedPlace>, BuildError>;
    async fn tags(&self, context: &BuildContext) -> Result<Option<Tags>, BuildError>;
    async fn is_gone(&self, context: &BuildContext) -> bool;
}

#[async_trait]
impl<K: OutputKind> AnyOutput for K {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn equals(&self, other: &dyn AnyOutput) -> bool {
        other.as_any().downcast_ref() == Some(self)
    }

    fn kind(&self) -> &'static str {
        K::NAME
    }

    fn default_name(&self) -> String {
        OutputKind::default_name(self)
    }

    fn target(&self, surroundings: &Surroundings) -> Target {
        OutputKind::target(self, surroundings)
    }

    fn keeps(&self) -> KeepsOrder {
        OutputKind::keeps(self)
    }

    fn validate(&self, surroundings: &Surroundings) -> Vec<String> {
        OutputKind::validate(self, surroundings)
    }

    fn permissions(&self) -> Vec<Permission> {
        OutputKind::permissions(self)
    }

    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        OutputKind::build(self, context).await
    }

    async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        OutputKind::check(self, context).await
    }

    async fn list(&self, context: &BuildContext) -> Result<Vec<ListedPlace>, BuildError> {
        OutputKind::list(self, context).await
    }

    async fn tags(&self, context: &BuildContext) -> Result<Option<Tags>, BuildError> {
        OutputKind::tags(self, context).await
    }

    async fn is_gone(&self, context: &BuildContext) -> bool {
        OutputKind::is_gone(self, context).await
    }
}

impl Kind<OutputSettings> {
    /// The kind whose settings are `K`.
    pub const fn of_output<K: OutputKind>() -> Self {
        Self::built_in(
            K::NAME,
            K::SUMMARY,
            K::KEYS,
            Functions {
                shorthand: K::shorthand,
                inherits: K::inherits,
                fields: fields_of::<K>,
                parse: |table| K::deserialize(table).map(OutputSettings::new),
            },
        )
        .with_dead_letter_defaults(K::DEAD_LETTER_DEFAULTS)
        .with_listed_by(K::LISTED_BY)
    }
}
