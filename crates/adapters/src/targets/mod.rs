//! The Targets table of aws-lambda-fanout: one item for each output of a source.
//!
//! - `table`: the table in DynamoDB.
//! - `images`: the data that the original made of changes in DynamoDB.
//!
//! Source of the format: aws-samples/aws-lambda-fanout, README.md and `lib/configuration.js`.
//! Destinations that the original's patterns reject and AWS takes (dots, FIFO, ARNs, aliases, other
//! partitions) are used.

pub mod images;
#[cfg(feature = "dynamodb")]
pub mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use toml::Table;

use crate::values::{self, Expected};

/// The key attribute with the source's ARN.
pub const SOURCE: &str = "sourceArn";
/// The key attribute with the output's name.
pub const ID: &str = "id";
/// Types that a target can have, each with our kind.
const TYPES: &[(&str, &str)] = &[
    ("kinesis", "kinesis"),
    ("firehose", "firehose"),
    ("sqs", "sqs"),
    ("sns", "sns"),
    ("iot", "iot"),
    ("lambda", "lambda"),
    ("es", "opensearch"),
    ("redis", "redis"),
    ("memcached", "memcached"),
];

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// True or false.
    Boolean(bool),
    /// Another type, which no attribute of a target has.
    Other,
}

/// An item: attributes by name. `NULL` is as absent.
pub type Item = BTreeMap<String, Attribute>;

/// A table by name or ARN: `table:NAME`, `table:ARN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName(String);

impl TableName {
    /// The name or the ARN, as DynamoDB takes either.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The region of an ARN.
    pub fn region(&self) -> Option<&str> {
        let mut parts = self.0.strip_prefix("arn:")?.split(':');
        parts.nth(2)
    }
}

impl FromStr for TableName {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        if !cfg!(feature = "dynamodb") {
            return Err(Expected::new(
                "Targets tables are not in this build: they need the cargo feature dynamodb; use a \
                 released binary, or build with --features dynamodb",
            ));
        }
        match text.strip_prefix("table:") {
            Some(name) if !name.is_empty() => Ok(Self(name.to_owned())),
            _ => Err(Expected(format!(
                "{text:?} is no table: expected table:NAME or table:ARN"
            ))),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table:{}", self.0)
    }
}

impl<'de> Deserialize<'de> for TableName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        values::text(deserializer)
    }
}

/// An item that names no output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the target {id} is not used: {why}")]
pub struct BadTarget {
    /// The item's id.
    pub id: String,
    /// The attribute, and the expected value.
    pub why: String,
}

/// A target as an output of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The id, which is the output's name.
    pub id: String,
    /// True if records are sent.
    pub active: bool,
    /// The kind of output.
    pub kind: &'static str,
    /// The keys of the kind.
    pub keys: Table,
    /// True: KPL aggregates are taken apart.
    pub deaggregate: bool,
    /// The form of changes in DynamoDB.
    pub images: images::Images,
}

impl Target {
    /// Reads an item.
    ///
    /// # Errors
    /// [`BadTarget`] with the attribute and the expected value.
    pub fn read(item: &Item) -> Result<Self, BadTarget> {
        let id = match item.get(ID) {
            Some(Attribute::Text(id)) => id.clone(),
            _ => String::new(),
        };
        let of = Attributes(item);
        of.target(&id).map_err(|why| BadTarget { id, why })
    }
}

/// The attributes of an item, with their types.
struct Attributes<'a>(&'a Item);

impl<'a> Attributes<'a> {
    fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Attribute::Text(text)) => Ok(Some(text)),
            Some(_) => Err(format!("attribute {name}: expected a text (S)")),
        }
    }

    fn needed(&self, name: &str) -> Result<&'a str, String> {
        let text = self.text(name)?;
        let text = text.filter(|text| !text.is_empty());
        text.ok_or_else(|| format!("attribute {name} is missing: expected a text (S)"))
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        match self.0.get(name) {
            None => Ok(false),
            Some(Attribute::Boolean(value)) => Ok(*value),
            Some(_) => Err(format!("attribute {name}: expected true or false (BOOL)")),
        }
    }

    fn target(&self, id: &str) -> Result<Target, String> {
        if id.is_empty() {
            return Err(format!("attribute {ID} is missing: expected a text (S)"));
        }
        self.passthrough()?;
        self.collapse()?;

        let kind = self.kind()?;
        let deaggregate = self.flag("deaggregate")?;
        let mut keys = destination(kind, self.needed("destination")?)?;
        self.add_access(kind, &mut keys)?;
        // The address of a configuration endpoint, which knows the servers of the cluster.
        let is_cluster = self
            .text("destination")?
            .is_some_and(|text| text.contains(".cfg."));
        if kind == "memcached" && is_cluster {
            keys.insert("discovery".to_owned(), true.into());
        }
        if kind == "kinesis" && deaggregate {
            keys.insert("deaggregate".to_owned(), true.into());
        }
        Ok(Target {
            id: id.to_owned(),
            active: self.flag("active")?,
            kind,
            keys,
            deaggregate: deaggregate && kind != "kinesis",
            images: self.images()?,
        })
    }

    fn kind(&self) -> Result<&'static str, String> {
        let word = self.needed("type")?;
        let mut types = TYPES.iter();
        let found = types.find(|(name, _)| *name == word);
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            format!("attribute type: {word:?} is none of {names}")
        })
    }

    /// The name is the reverse of the meaning: true stands for records in the original's own form.
    fn passthrough(&self) -> Result<(), String> {
        if self.flag("passthrough")? {
            let why = "attribute passthrough: the records of the original's own form are not built; \
                       expected false";
            return Err(why.to_owned());
        }
        Ok(())
    }

    /// The original puts several records into one message only with a setting that its items do not
    /// have, so that each form gives one record a message.
    fn collapse(&self) -> Result<(), String> {
        let words = ["JSON", "concat", "concat-b64", "none"];
        match self.text("collapse")? {
            Some(word) if !words.contains(&word) => Err(format!(
                "attribute collapse: {word:?} is none of {}",
                words.join(", ")
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn images(&self) -> Result<images::Images, String> {
        Ok(images::Images {
            plain: self.flag("convertDDB")?,
            newline: self.flag("appendNewlines")?,
        })
    }

    /// Adds region, role and external id; stores that are no AWS service have none.
    fn add_access(&self, kind: &str, keys: &mut Table) -> Result<(), String> {
        if matches!(kind, "redis" | "memcached") {
            return Ok(());
        }
        for (attribute, key) in ACCESS {
            if *key == "region" && has_own_region(keys) {
                continue;
            }
            if let Some(text) = self.text(attribute)? {
                keys.insert((*key).to_owned(), text.into());
            }
        }
        Ok(())
    }
}

/// Attributes about access, with our keys.
const ACCESS: &[(&str, &str)] = &[
    // First, while no ARN of a role stands among the keys.
    ("region", "region"),
    ("role", "role-arn"),
    ("externalId", "external-id"),
];

/// True if the place itself names a region, as an ARN or a URL does.
fn has_own_region(keys: &Table) -> bool {
    let mut texts = keys.values().filter_map(toml::Value::as_str);
    texts.any(|text| text.starts_with("arn:") || text.contains(".amazonaws.com"))
}

/// The keys that name the place.
fn destination(kind: &str, text: &str) -> Result<Table, String> {
    let pairs = match kind {
        "kinesis" | "firehose" => one("stream", text),
        "sqs" => one("queue-url", text),
        "sns" => one("topic-arn", text),
        "lambda" => asynchronous(text),
        "iot" => of_host(text, "topic")?,
        "opensearch" => of_index(text)?,
        "redis" => one("url", &format!("redis://{text}")),
        _ => one("server", text),
    };

    let pairs = pairs.into_iter();
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.into()));
    Ok(pairs.collect())
}

fn one(key: &'static str, text: &str) -> Pairs {
    vec![(key, text.to_owned())]
}

/// The original invokes functions asynchronously.
fn asynchronous(function: &str) -> Pairs {
    let mut pairs = one("function", function);
    pairs.extend(one("invocation", "event"));
    pairs
}

/// Keys with their values.
type Pairs = Vec<(&'static str, String)>;

fn of_host(text: &str, key: &'static str) -> Result<Pairs, String> {
    let Some((host, rest)) = text.split_once('#') else {
        return Err(format!(
            "attribute destination: {text:?} has no '#': expected HOST#{}",
            key.to_uppercase()
        ));
    };
    let url = format!("https://{host}");
    Ok(vec![("endpoint-url", url), (key, rest.to_owned())])
}

/// The first part of a path is the index; a document type behind, which servers no longer know, is
/// left out.
fn of_index(text: &str) -> Result<Pairs, String> {
    let mut pairs = of_host(text, "index")?;
    if let Some((_, path)) = pairs.last_mut() {
        let index = path.split('/').next().unwrap_or_default();
        *path = index.to_owned();
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(attributes: &[(&str, &str)]) -> Item {
        let attributes = attributes.iter().map(|(name, value)| {
            let value = match *value {
                "true" => Attribute::Boolean(true),
                "false" => Attribute::Boolean(false),
                text => Attribute::Text(text.to_owned()),
            };
            ((*name).to_owned(), value)
        });
        attributes.collect()
    }

    fn read(kind: &str, destination: &str, more: &[(&str, &str)]) -> Result<Target, String> {
        let mut attributes = vec![
            ("sourceArn", "arn:aws:kinesis:eu-west-1:1:stream/input"),
            ("id", "k2"),
            ("type", kind),
            ("destination", destination),
            ("active", "true"),
        ];
        attributes.extend(more);
        Target::read(&item(&attributes)).map_err(|bad| bad.to_string())
    }

    fn keys(target: &Target) -> String {
        let pairs = target
            .keys
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        pairs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_item_of_the_originals_command_line_is_an_output() {
        let target = read(
            "kinesis",
            "remote",
            &[("collapse", "none"), ("deaggregate", "true")],
        );
        let target = target.unwrap();
        assert_eq!(
            (target.kind, target.id.as_str(), target.active),
            ("kinesis", "k2", true)
        );
        assert_eq!(keys(&target), "deaggregate=true stream=\"remote\"");
    }

    #[test]
    fn destinations_that_the_original_rejects_are_used() {
        let arn = "arn:aws-us-gov:kinesis:us-gov-west-1:1:stream/with.dots";
        let target = read("kinesis", arn, &[("region", "eu-west-1")]).unwrap();
        assert_eq!(keys(&target), format!("stream={arn:?}"));
        let url = "https://sqs.eu-west-1.amazonaws.com/1/orders.fifo";
        assert_eq!(
            keys(&read("sqs", url, &[]).unwrap()),
            format!("queue-url={url:?}")
        );
        let function = read("lambda", "f:alias", &[]).unwrap();
        assert_eq!(keys(&function), "function=\"f:alias\" invocation=\"event\"");
    }

    #[test]
    fn role_external_id_and_region_are_kept_together() {
        let more = [
            ("role", "arn:aws:iam::1:role/path/writer"),
            ("externalId", "x"),
            ("region", "us-gov-west-1"),
        ];
        let target = read("firehose", "d", &more).unwrap();
        let expected = "external-id=\"x\" region=\"us-gov-west-1\" \
                        role-arn=\"arn:aws:iam::1:role/path/writer\" stream=\"d\"";
        assert_eq!(keys(&target), expected);
        let cache = read("redis", "h.ng.0001.euw1.cache.amazonaws.com:6379", &more).unwrap();
        assert_eq!(cache.keys.len(), 1);
    }

    #[test]
    fn an_index_loses_the_document_type_and_a_topic_its_host() {
        let es = read("es", "search-a.eu-west-1.es.amazonaws.com#logs/doc", &[]).unwrap();
        assert_eq!(es.kind, "opensearch");
        assert!(keys(&es).contains("index=\"logs\""), "{}", keys(&es));
        let iot = read("iot", "h.iot.eu-west-1.amazonaws.com#a/b", &[]).unwrap();
        assert!(keys(&iot).contains("topic=\"a/b\""), "{}", keys(&iot));
    }

    #[test]
    fn a_bad_item_names_the_attribute_and_the_expected_value() {
        let told =
            |kind, destination, more: &[(&str, &str)]| read(kind, destination, more).unwrap_err();
        assert!(told("kafka", "x", &[]).contains("type: \"kafka\" is none of kinesis, firehose"));
        assert!(told("iot", "host", &[]).contains("expected HOST#TOPIC"));
        assert!(
            told("sqs", "u", &[("collapse", "zip")]).contains("collapse: \"zip\" is none of JSON")
        );
        assert!(told("sqs", "u", &[("role", "true")]).contains("role: expected a text (S)"));
        assert!(told("sqs", "u", &[("active", "yes")]).contains("active: expected true or false"));
        assert!(told("sqs", "", &[]).contains("destination is missing"));
    }

    #[test]
    fn a_missing_collapse_and_other_attributes_do_not_matter() {
        let target = read("sqs", "u", &[("note", "anything"), ("parallel", "true")]).unwrap();
        assert_eq!(target.kind, "sqs");
    }
}
