//! The Targets table in DynamoDB. API reference: Amazon DynamoDB, `Query`, `PutItem`, `UpdateItem`,
//! `DeleteItem`.

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::AttributeValue;
use distributary_core::output::{Trouble, TroubleKind};

use super::{Attribute, ID, Item, SOURCE, TableName};

/// An item as the SDK has one; the order of attributes is never seen.
#[expect(clippy::disallowed_types, reason = "the type of the SDK")]
type SdkItem = std::collections::HashMap<String, AttributeValue>;

/// The targets of some sources.
#[derive(Clone, Debug)]
pub struct TargetsTable {
    client: Client,
    table: TableName,
}

impl TargetsTable {
    /// The table `table`. No I/O.
    pub fn new(sdk: &SdkConfig, table: TableName) -> Self {
        let config = aws_sdk_dynamodb::config::Builder::from(sdk)
            .retry_config(RetryConfig::standard())
            .build();
        Self {
            client: Client::from_conf(config),
            table,
        }
    }

    /// The items of a source, active or not, by id.
    ///
    /// # Errors
    /// [`Trouble`]; a list that is cut short is one.
    pub async fn of_source(&self, source: &str) -> Result<Vec<Item>, Trouble> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(self.table.as_str())
                .key_condition_expression("#source = :source")
                .expression_attribute_names("#source", SOURCE)
                .expression_attribute_values(":source", text(source))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| self.failed(error))?;
            let found = page.items().iter();
            items.extend(found.map(item));
            start = page.last_evaluated_key().cloned();
            if start.is_none() {
                return Ok(items);
            }
        }
    }

    /// Writes an item; `false` if there is one of the same id and `overwrite` is not wanted.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn put(&self, item: &Item, overwrite: bool) -> Result<bool, Trouble> {
        let attributes = item.iter();
        let attributes = attributes.map(|(name, value)| (name.clone(), attribute(value)));
        let mut request = self
            .client
            .put_item()
            .table_name(self.table.as_str())
            .set_item(Some(attributes.collect()));
        if !overwrite {
            request = request
                .condition_expression("attribute_not_exists(#id)")
                .expression_attribute_names("#id", ID);
        }
        let written = request.send().await;
        self.is_done(written)
    }

    /// Sets attributes of an item; `false` if there is no such item.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn update(&self, source: &str, id: &str, changes: &Item) -> Result<bool, Trouble> {
        let mut request = self
            .client
            .update_item()
            .table_name(self.table.as_str())
            .key(SOURCE, text(source))
            .key(ID, text(id))
            .condition_expression("attribute_exists(#id)")
            .expression_attribute_names("#id", ID);

        let mut sets = Vec::with_capacity(changes.len());
        for (i, (name, value)) in changes.iter().enumerate() {
            sets.push(format!("#n{i} = :v{i}"));
            request = request
                .expression_attribute_names(format!("#n{i}"), name)
                .expression_attribute_values(format!(":v{i}"), attribute(value));
        }
        let expression = format!("SET {}", sets.join(", "));
        let written = request.update_expression(expression).send().await;
        self.is_done(written)
    }

    /// Deletes an item; `false` if there is no such item.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn delete(&self, source: &str, id: &str) -> Result<bool, Trouble> {
        let deleted = self
            .client
            .delete_item()
            .table_name(self.table.as_str())
            .key(SOURCE, text(source))
            .key(ID, text(id))
            .condition_expression("attribute_exists(#id)")
            .expression_attribute_names("#id", ID)
            .send()
            .await;
        self.is_done(deleted)
    }

    fn is_done<T, E>(&self, result: Result<T, SdkError<E>>) -> Result<bool, Trouble>
    where
        SdkError<E>: ProvideErrorMetadata,
        E: std::error::Error + Send + Sync + 'static,
    {
        match result {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed<E>(&self, error: SdkError<E>) -> Trouble
    where
        SdkError<E>: ProvideErrorMetadata,
        E: std::error::Error + Send + Sync + 'static,
    {
        let kind = match error.code() {
            Some("ResourceNotFoundException") => TroubleKind::Missing,
            Some("AccessDeniedException") => TroubleKind::Denied,
            _ => TroubleKind::Unavailable,
        };
        let table = self.table.as_str();
        let why = error.message().unwrap_or("no answer");
        Trouble::new(kind, format!("the Targets table {table}: {why}")).caused_by(error)
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn attribute(value: &Attribute) -> AttributeValue {
    match value {
        Attribute::Text(value) => text(value),
        Attribute::Boolean(value) => AttributeValue::Bool(*value),
        Attribute::Other => AttributeValue::Null(true),
    }
}

fn item(attributes: &SdkItem) -> Item {
    let mut item = Item::new();
    for (name, value) in attributes {
        let value = match value {
            AttributeValue::Null(_) => continue,
            AttributeValue::S(value) => Attribute::Text(value.clone()),
            AttributeValue::Bool(value) => Attribute::Boolean(*value),
            _ => Attribute::Other,
        };
        item.insert(name.clone(), value);
    }
    item
}
