//! The kind `s3`: objects in an Amazon S3 bucket.

#[cfg(feature = "s3")]
mod service;
mod template;

use async_trait::async_trait;
use distributary_core::output::KeepsOrder;
use distributary_kinesis::config::ConnectOptions;
use serde::Deserialize;
use toml::Table;

#[cfg(feature = "s3")]
use super::BuiltOutput;
use template::Template;

use super::OutputKind;
use crate::connection::{
    EXTERNAL_ID, PROFILE, ROLE_ARN, SERVICE_ENDPOINT, SERVICE_REGION, connection, role_problems,
};
use crate::formats::{self, Format};
use crate::keys::{Absent, Form, Key};
#[cfg(feature = "s3")]
use crate::kind::{BuildContext, BuildError, Finding};
use crate::kind::{Permission, Surroundings, Target};
use crate::values::{Expected, Size, Span};

/// The settings of one bucket.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    bucket: String,
    region: Option<String>,
    profile: Option<String>,
    endpoint_url: Option<String>,
    role_arn: Option<String>,
    external_id: Option<String>,
    key: Option<Template>,
    #[serde(default = "Format::record")]
    format: Format,
    #[serde(default)]
    framing: Framing,
    #[serde(default)]
    compression: Compression,
    object_size: Option<Size>,
    object_age: Option<Span>,
}

/// The marks between the records of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Framing {
    /// A line break after each record.
    #[default]
    Lines,
    /// Nothing.
    None,
    /// The length of each record before the record: four bytes, the highest first.
    Length,
}

/// The compression of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

#[async_trait]
impl OutputKind for Settings {
    const NAME: &'static str = "s3";
    const SUMMARY: &'static str = "Objects in an Amazon S3 bucket. A record is durable when the object \
        that holds the record is; until then checkpoints wait. An object has the records of one shard in \
        order, and names sort in that order. An object that is written again after a crash has the same \
        name if the records are the same. `--to s3:BUCKET`. See [the guide](guides/outputs.md).";
    const KEYS: &'static [Key] = &[
        Key {
            name: "bucket",
            form: Form::Text("BUCKET"),
            absent: Absent::Required,
            help: "Bucket to write to",
            example: "orders",
        },
        SERVICE_REGION,
        PROFILE,
        SERVICE_ENDPOINT,
        ROLE_ARN,
        EXTERNAL_ID,
        Key {
            name: "key",
            form: Form::Text("TEMPLATE"),
            absent: Absent::Default("{yyyy}/{mm}/{dd}/{hh}/{shard}/{first}-{last}.{ext}"),
            help: "Name of an object: {yyyy}, {mm}, {dd}, {hh} are the arrival of the first record (UTC), \
                   {first} and {last} sequence numbers, {shard} the source shard, {ext} the form",
            example: "orders/dt={yyyy}-{mm}-{dd}/{shard}-{first}-{last}.{ext}",
        },
        Key {
            absent: Absent::Default("record"),
            ..formats::FORMAT
        },
        Key {
            name: "framing",
            form: Form::Choice(&["lines", "none", "length"]),
            absent: Absent::Default("lines"),
            help: "Between records: lines (a line break after each), none, or length (the length before \
                   each, four bytes, the highest first)",
            example: "none",
        },
        Key {
            name: "compression",
            form: Form::Choice(&["none", "gzip", "zstd"]),
            absent: Absent::Default("none"),
            help: "Compression of an object",
            example: "gzip",
        },
        Key {
            name: "object-size",
            form: Form::Size,
            absent: Absent::Default("16MiB"),
            help: "Bytes of data and keys after which an object is written; less where the memory for \
                   accepted records is used up",
            example: "64MiB",
        },
        Key {
            name: "object-age",
            form: Form::Span,
            absent: Absent::Default("1m"),
            help: "Time from the first record after which an object is written",
            example: "5m",
        },
    ];

    fn shorthand(rest: &str) -> Result<Table, Expected> {
        if rest.is_empty() {
            return Err(Expected::new("s3 needs a bucket: s3:BUCKET"));
        }
        Ok([("bucket".to_owned(), rest.into())].into_iter().collect())
    }

    fn default_name(&self) -> String {
        self.bucket.clone()
    }

    fn target(&self, _surroundings: &Surroundings) -> Target {
        let key = self.template();
        Target {
            text: format!("s3 {}/{key} {:?}", self.bucket, self.endpoint_url),
            exclusive: false,
        }
    }

    fn keeps(&self) -> KeepsOrder {
        KeepsOrder::PerKey
    }

    fn validate(&self, _surroundings: &Surroundings) -> Vec<String> {
        let mut problems = role_problems(&self.connection());
        let is_safe = matches!(self.format, Format::Json | Format::Base64 | Format::Record);
        if self.framing == Framing::Lines && !is_safe && self.format != Format::Raw {
            problems.push("format text needs framing = \"none\" or \"length\"".to_owned());
        }
        problems
    }

    fn permissions(&self) -> Vec<Permission> {
        let permission = |action, path: &str| Permission {
            role: self.role_arn.clone(),
            actions: vec![action],
            resource: format!("arn:aws:s3:::{}{path}", self.bucket),
        };
        vec![
            permission("s3:PutObject", "/*"),
            permission("s3:ListBucket", ""),
        ]
    }

    #[cfg(feature = "s3")]
    async fn build(&self, context: &BuildContext) -> Result<BuiltOutput, BuildError> {
        service::build(self, context).await
    }

    #[cfg(feature = "s3")]
    async fn check(&self, context: &BuildContext) -> Vec<Finding> {
        service::check(self, context).await
    }
}

impl Settings {
    fn connection(&self) -> ConnectOptions {
        connection!(self, None::<String>)
    }

    fn template(&self) -> Template {
        self.key.clone().unwrap_or_default()
    }
}

#[cfg_attr(not(feature = "s3"), allow(dead_code))]
impl Compression {
    /// The end of names of objects.
    fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}
