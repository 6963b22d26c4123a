//! Leases in a DynamoDB table with the schema of the KCL.
//!
//! One row a shard, written by `UpdateItem` alone, so that attributes of other programs stay.
//! API reference: Amazon DynamoDB, `UpdateItem`, `Scan`, `GetItem`, `CreateTable`. The schema:
//! Kinesis developer guide, "Use a lease table", and rows that KCL 1.15, 2.7 and 3.5 wrote.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType, TableStatus,
};
use distributary_core::batch::ShardId;
use distributary_core::clock::Clock;
use distributary_core::leases::{Change, Expected, KclCheckpoint, LeaseRow, LeaseTable, RowUpdate};
use distributary_core::source::HashRange;
use distributary_core::store::StoreError;

const KEY: &str = "leaseKey";
const OWNER: &str = "leaseOwner";
const COUNTER: &str = "leaseCounter";
const CHECKPOINT: &str = "checkpoint";
const SUB: &str = "checkpointSubSequenceNumber";
const SWITCHES: &str = "ownerSwitchesSinceCheckpoint";
const PARENTS: &str = "parentShardId";
const CHILDREN: &str = "childShardIds";
const HASH_START: &str = "startingHashKey";
const HASH_END: &str = "endingHashKey";
const LANES: &str = "distributaryLanes";
const SUCCESSOR: &str = "distributarySuccessor";
/// Tells leases from other rows in a table of KCL 3.5; absent in tables of older ones.
const ENTITY: &str = "entityType";

/// Time between two looks at a table that is being created.
const CREATION_POLL: Duration = Duration::from_secs(1);
/// Time after which a table that is being created is given up.
const CREATION_LIMIT: Duration = Duration::from_secs(120);
/// One call, all attempts of the connection included.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// An item as the SDK has one; the order of attributes is never seen.
#[expect(clippy::disallowed_types, reason = "the type of the SDK")]
type Item = std::collections::HashMap<String, AttributeValue>;

/// A lease table in DynamoDB.
#[derive(Clone, Debug)]
pub struct DynamoTable {
    client: Client,
    table: String,
}

impl DynamoTable {
    /// The table `table`. No I/O. The client of the SDK tries nothing again: the protocol does.
    pub fn new(sdk: &SdkConfig, table: &str) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_timeout(CALL_LIMIT)
            .build();
        let config = aws_sdk_dynamodb::config::Builder::from(sdk)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .build();
        Self {
            client: Client::from_conf(config),
            table: table.to_owned(),
        }
    }

    /// Creates the table if there is none, billed on demand, and waits until it is active.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if the table has another key than a lease table;
    /// [`StoreError::Failed`].
    pub async fn create(&self, clock: &Clock) -> Result<(), StoreError> {
        let started = clock.now();
        while clock.now().since(started) < CREATION_LIMIT {
            match self.status().await? {
                Some(TableStatus::Active | TableStatus::Updating) => return Ok(()),
                Some(_) => {}
                None => self.create_once().await?,
            }
            clock.sleep(CREATION_POLL).await;
        }
        let limit = CREATION_LIMIT.as_secs();
        let text = format!("the table {} was not active after {limit} s", self.table);
        Err(failed(text.into()))
    }

    /// True if there is such a table.
    ///
    /// # Errors
    /// As [`DynamoTable::create`].
    pub async fn exists(&self) -> Result<bool, StoreError> {
        self.status().await.map(|status| status.is_some())
    }

    async fn create_once(&self) -> Result<(), StoreError> {
        let attribute = AttributeDefinition::builder()
            .attribute_name(KEY)
            .attribute_type(ScalarAttributeType::S)
            .build();
        let key = KeySchemaElement::builder()
            .attribute_name(KEY)
            .key_type(KeyType::Hash)
            .build();
        let result = self
            .client
            .create_table()
            .table_name(&self.table)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute.map_err(|e| failed(e.into()))?)
            .key_schema(key.map_err(|e| failed(e.into()))?)
            .send()
            .await;

        match result {
            Ok(_) => {
                tracing::info!(table = %self.table, "the lease table was created");
                Ok(())
            }
            // Another worker was faster.
            Err(error) if error.code() == Some("ResourceInUseException") => Ok(()),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// The status of the table; `None` if there is none.
    async fn status(&self) -> Result<Option<TableStatus>, StoreError> {
        let described = self.client.describe_table().table_name(&self.table).send();
        let described = match described.await {
            Ok(described) => described,
            Err(error) if error.code() == Some("ResourceNotFoundException") => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };

        let table = described.table();
        let key = table.map(|table| table.key_schema()).unwrap_or_default();
        if !key.is_empty() && (key.len() != 1 || key[0].attribute_name() != KEY) {
            return Err(StoreError::Foreign {
                message: format!(
                    "the DynamoDB table {} is no lease table: its key is not {KEY}; name another table",
                    self.table
                ),
            });
        }
        Ok(table.and_then(|table| table.table_status()).cloned())
    }

    fn update_item(&self, shard: &ShardId) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key(KEY, AttributeValue::S(shard.as_str().to_owned()))
    }
}

#[async_trait]
impl LeaseTable for DynamoTable {
    async fn rows(&self) -> Result<Vec<LeaseRow>, StoreError> {
        let mut rows = Vec::new();
        let mut start = None;
        loop {
            let page = self
                .client
                .scan()
                .table_name(&self.table)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|e| failed(e.into()))?;
            for item in page.items() {
                rows.extend(row(item)?);
            }
            start = page.last_evaluated_key().cloned();
            if start.is_none() {
                return Ok(rows);
            }
        }
    }

    async fn row(&self, shard: &ShardId) -> Result<Option<LeaseRow>, StoreError> {
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(KEY, AttributeValue::S(shard.as_str().to_owned()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|e| failed(e.into()))?;
        found.item().map_or(Ok(None), row)
    }

    async fn create(&self, row: &LeaseRow) -> Result<bool, StoreError> {
        let mut expression = Expression::default();
        expression.set(COUNTER, number(row.counter));
        expression.progress(&row.checkpoint, row.lanes.as_deref());
        expression.set(SWITCHES, number(row.switches));
        expression.shards(PARENTS, &row.parents);
        expression.shards(CHILDREN, &row.children);
        if let Some(range) = row.hash_range {
            expression.set(HASH_START, AttributeValue::S(range.start.to_string()));
            expression.set(HASH_END, AttributeValue::S(range.end.to_string()));
        }
        if let Some(owner) = &row.owner {
            expression.set(OWNER, AttributeValue::S(owner.clone()));
        }

        let update = expression.apply(self.update_item(&row.shard));
        let condition = "attribute_not_exists(leaseKey)";
        done(update.condition_expression(condition).send().await)
    }

    async fn update(
        &self,
        shard: &ShardId,
        expected: &Expected,
        update: &RowUpdate,
    ) -> Result<bool, StoreError> {
        let mut expression = Expression::default();
        expression.set(COUNTER, number(expected.counter + 1));
        expression.change(OWNER, &update.owner);
        expression.change(SUCCESSOR, &update.successor);
        expression.shards(CHILDREN, &update.children);
        if let Some(switches) = update.switches {
            expression.set(SWITCHES, number(switches));
        }
        if let Some(progress) = &update.progress {
            expression.progress(&progress.checkpoint, progress.lanes.as_deref());
        }

        let (condition, values) = condition(expected);
        let mut request = expression
            .apply(self.update_item(shard))
            .condition_expression(condition);
        for (name, value) in values {
            request = request.expression_attribute_values(name, value);
        }
        done(request.send().await)
    }

    async fn delete(&self, shard: &ShardId, expected: &Expected) -> Result<bool, StoreError> {
        let (condition, values) = condition(expected);
        let request = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key(KEY, AttributeValue::S(shard.as_str().to_owned()))
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values.into_iter().collect()));
        done(request.send().await)
    }
}

/// An update expression. Attribute names stand in the expression as they are: none is a word that
/// DynamoDB reserves.
#[derive(Default)]
struct Expression {
    set: Vec<String>,
    remove: Vec<&'static str>,
    values: Vec<(String, AttributeValue)>,
}

impl Expression {
    fn set(&mut self, name: &'static str, value: AttributeValue) {
        self.set.push(format!("{name} = :{name}"));
        self.values.push((format!(":{name}"), value));
    }

    fn change(&mut self, name: &'static str, change: &Change<String>) {
        match change {
            Change::Keep => {}
            Change::Set(value) => self.set(name, AttributeValue::S(value.clone())),
            Change::Remove => self.remove.push(name),
        }
    }

    /// A set of shards; DynamoDB has no empty sets.
    fn shards(&mut self, name: &'static str, shards: &BTreeSet<ShardId>) {
        if !shards.is_empty() {
            let shards = shards.iter().map(|shard| shard.as_str().to_owned());
            self.set(name, AttributeValue::Ss(shards.collect()));
        }
    }

    fn progress(&mut self, checkpoint: &KclCheckpoint, lanes: Option<&[u8]>) {
        let text = checkpoint.text().to_owned();
        self.set(CHECKPOINT, AttributeValue::S(text));
        self.set(SUB, number(checkpoint.sub()));
        if let Some(lanes) = lanes {
            self.set(LANES, AttributeValue::B(Blob::new(lanes)));
        }
    }

    fn apply(self, mut request: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
        let mut text = format!("SET {}", self.set.join(", "));
        if !self.remove.is_empty() {
            text.push_str(" REMOVE ");
            text.push_str(&self.remove.join(", "));
        }
        for (name, value) in self.values {
            request = request.expression_attribute_values(name, value);
        }
        request.update_expression(text)
    }
}

/// The condition that a row is as expected, and its values.
fn condition(expected: &Expected) -> (String, Vec<(String, AttributeValue)>) {
    let counter = (":expected".to_owned(), number(expected.counter));
    match &expected.owner {
        Some(owner) => {
            let owner = (":holder".to_owned(), AttributeValue::S(owner.clone()));
            let text = format!("{COUNTER} = :expected AND {OWNER} = :holder");
            (text, vec![counter, owner])
        }
        None => {
            let text = format!("{COUNTER} = :expected AND attribute_not_exists({OWNER})");
            (text, vec![counter])
        }
    }
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A conditional write: `false` if the condition did not hold.
fn done<T, E>(result: Result<T, SdkError<E>>) -> Result<bool, StoreError>
where
    SdkError<E>: ProvideErrorMetadata,
    E: std::error::Error + Send + Sync + 'static,
{
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(false),
        Err(error) => Err(failed(error.into())),
    }
}

fn failed(source: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    StoreError::Failed { source }
}

/// The lease in `item`; `None` for rows of other kinds, which KCL 3.5 keeps in the same table.
fn row(item: &Item) -> Result<Option<LeaseRow>, StoreError> {
    let text = |name: &str| item.get(name)?.as_s().ok().cloned();
    let number = |name: &str| item.get(name)?.as_n().ok()?.parse::<u64>().ok();
    let is_lease = text(ENTITY).is_none_or(|entity| entity == "LEASE");
    let Some(key) = text(KEY).filter(|_| is_lease) else {
        return Ok(None);
    };
    let (Some(checkpoint), Some(counter)) = (text(CHECKPOINT), number(COUNTER)) else {
        return Err(StoreError::Foreign {
            message: format!(
                "the row {key} of the lease table has no {CHECKPOINT} or no {COUNTER}; delete the row, or \
                 name another table"
            ),
        });
    };

    let hash_range = text(HASH_START)
        .zip(text(HASH_END))
        .and_then(|(start, end)| {
            Some(HashRange {
                start: start.parse().ok()?,
                end: end.parse().ok()?,
            })
        });
    Ok(Some(LeaseRow {
        shard: ShardId::new(&key),
        owner: text(OWNER),
        counter,
        checkpoint: KclCheckpoint::parse(&checkpoint, number(SUB).unwrap_or(0)),
        switches: number(SWITCHES).unwrap_or(0),
        parents: shards(item, PARENTS),
        children: shards(item, CHILDREN),
        hash_range,
        lanes: item
            .get(LANES)
            .and_then(|lanes| lanes.as_b().ok())
            .map(|lanes| lanes.as_ref().to_vec().into()),
        successor: text(SUCCESSOR),
    }))
}

fn shards(item: &Item, name: &str) -> BTreeSet<ShardId> {
    let set = item.get(name).and_then(|value| value.as_ss().ok());
    let shards = set.map(Vec::as_slice).unwrap_or_default();
    shards.iter().map(|shard| ShardId::new(shard)).collect()
}
