//! `distributary targets`: the Targets table of aws-lambda-fanout.

use std::process::ExitCode;

use distributary_adapters::kind::Ending;
use distributary_adapters::targets::table::TargetsTable;
use distributary_adapters::targets::{Attribute, ID, Item, SOURCE, TableName, Target};
use distributary_config::targets::connection;
use distributary_core::output::Trouble;
use distributary_core::text::chain;
use serde_json::{Map, Value};

use crate::connect::{Access, ConnectArgs};
use crate::failure::Failure;
use crate::screen;

/// Flags of `targets`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  distributary targets list --source-arn arn:aws:kinesis:eu-west-1:123456789012:stream/orders
  distributary targets register kinesis --source-arn ARN --id audit --destination audit --active true
  distributary targets import --table fanoutTargets --source-arn ARN > distributary.toml

AWS_REGION, AWS_PROFILE and AWS_ENDPOINT_URL_DYNAMODB lead to the table. Exit code 1: there is no such target, or there is \
one already.")]
pub(crate) struct TargetsArgs {
    #[command(subcommand)]
    verb: Verb,
    /// Function, whose table has the name FUNCTIONTargets
    #[arg(long, global = true, default_value = "fanout", value_name = "NAME")]
    function: String,
    /// Table, by name or ARN
    #[arg(long, global = true, visible_alias = "table-arn", value_name = "NAME")]
    table: Option<String>,
    /// Stream whose records the targets get: a Kinesis stream's ARN, or that of a table's stream
    #[arg(long, global = true, default_value = "", value_name = "ARN")]
    source_arn: String,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Add a target; by default not active
    Register(RegisterArgs),
    /// Change attributes of a target
    Update(ChangeArgs),
    /// List the targets of the source
    List {
        /// Print the items as JSON
        #[arg(long)]
        json: bool,
    },
    /// Have records sent to a target
    Activate(IdArgs),
    /// Have no more records sent to a target
    Deactivate(IdArgs),
    /// Delete a target
    Unregister(IdArgs),
    /// Print a configuration with the targets as outputs
    Import,
}

#[derive(Debug, clap::Args)]
struct IdArgs {
    /// Target
    #[arg(long, value_name = "ID")]
    id: String,
}

#[derive(Debug, clap::Args)]
struct RegisterArgs {
    /// Type of the target: kinesis, firehose, sqs, sns, iot, lambda, es, redis, memcached
    #[arg(value_name = "TYPE")]
    kind: String,
    #[command(flatten)]
    change: ChangeArgs,
    /// Replace a target with this id
    #[arg(long)]
    force: bool,
    /// Print the item and write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct ChangeArgs {
    /// Target
    #[arg(long, value_name = "ID")]
    id: String,
    /// Place to write to: a name, an ARN, a URL, HOST#TOPIC, HOST#PATH or HOST:PORT, by type
    #[arg(long, value_name = "PLACE")]
    destination: Option<String>,
    /// Region of the destination
    #[arg(long, value_name = "REGION")]
    destination_region: Option<String>,
    /// Role to assume
    #[arg(long, value_name = "ARN")]
    destination_role_arn: Option<String>,
    /// External id of the role
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// JSON, concat, concat-b64 or none
    #[arg(long, value_name = "FORM")]
    collapse: Option<String>,
    /// Whether records are sent
    #[arg(long, value_name = "BOOLEAN")]
    active: Option<bool>,
    /// Several requests of the original at a time
    #[arg(long, value_name = "BOOLEAN")]
    parallel: Option<bool>,
    /// Changes in DynamoDB as plain JSON
    #[arg(long, value_name = "BOOLEAN")]
    convert_ddb: Option<bool>,
    /// KPL aggregates are taken apart
    #[arg(long, value_name = "BOOLEAN")]
    deaggregate: Option<bool>,
    /// A line feed behind changes in DynamoDB
    #[arg(long, value_name = "BOOLEAN")]
    append_newlines: Option<bool>,
}

impl ChangeArgs {
    /// The given attributes, by the names that they have in an item.
    fn attributes(&self) -> Item {
        let texts = [
            ("destination", &self.destination),
            ("region", &self.destination_region),
            ("role", &self.destination_role_arn),
            ("externalId", &self.external_id),
            ("collapse", &self.collapse),
        ];
        let flags = [
            ("active", self.active),
            ("parallel", self.parallel),
            ("convertDDB", self.convert_ddb),
            ("deaggregate", self.deaggregate),
            ("appendNewlines", self.append_newlines),
        ];

        let mut item = Item::new();
        for (name, text) in texts {
            if let Some(text) = text {
                item.insert(name.to_owned(), Attribute::Text(text.clone()));
            }
        }
        for (name, flag) in flags {
            if let Some(flag) = flag {
                item.insert(name.to_owned(), Attribute::Boolean(flag));
            }
        }
        item
    }
}

impl RegisterArgs {
    /// The item, with the defaults of the original.
    fn item(&self, source: &str) -> Item {
        let text = |text: &str| Attribute::Text(text.to_owned());
        let mut item = active(false);
        item.insert("collapse".to_owned(), text("none"));
        item.extend(self.change.attributes());

        item.insert(SOURCE.to_owned(), text(source));
        item.insert(ID.to_owned(), text(&self.change.id));
        item.insert("type".to_owned(), text(&self.kind));
        item
    }
}

/// Runs the verb.
pub(crate) async fn run(args: TargetsArgs) -> Result<ExitCode, Failure> {
    let table = args.table()?;
    let source = args.source_arn.as_str();
    if source.is_empty() {
        return Err(Failure::usage("no source: give --source-arn ARN"));
    }
    let targets = open(table).await?;
    let place = Place {
        targets: &targets,
        source,
    };
    match &args.verb {
        Verb::List { json } => {
            let items = place.items().await?;
            list(&items, *json)
        }
        Verb::Import => {
            let items = place.items().await?;
            import(&items, source)
        }
        verb => place.change(verb).await,
    }
}

/// The targets of one source.
struct Place<'a> {
    targets: &'a TargetsTable,
    source: &'a str,
}

impl Place<'_> {
    async fn items(&self) -> Result<Vec<Item>, Failure> {
        let items = self.targets.of_source(self.source);
        let items = items.await;
        items.map_err(|trouble| Failure::run(chain(&trouble)))
    }

    async fn change(&self, verb: &Verb) -> Result<ExitCode, Failure> {
        match verb {
            Verb::Register(register) => self.add(register).await,
            Verb::Update(change) => {
                let attributes = change.attributes();
                self.update(&change.id, attributes).await
            }
            Verb::Activate(IdArgs { id }) => self.update(id, active(true)).await,
            Verb::Deactivate(IdArgs { id }) => self.update(id, active(false)).await,
            Verb::Unregister(IdArgs { id }) => {
                let deleted = self.targets.delete(self.source, id);
                done(deleted.await, &none(id))
            }
            // Both print the targets and change none.
            Verb::List { .. } | Verb::Import => Ok(ExitCode::SUCCESS),
        }
    }

    async fn add(&self, args: &RegisterArgs) -> Result<ExitCode, Failure> {
        let id = &args.change.id;
        let item = args.item(self.source);
        let read = Target::read(&item);
        read.map_err(|bad| Failure::usage(bad.to_string()))?;
        if args.dry_run {
            let text = format!("{}\n", json(&item));
            screen::print(&text)?;
            return Ok(ExitCode::SUCCESS);
        }

        let written = self.targets.put(&item, args.force);
        let why = format!("there is a target {id} already; give --force to replace it");
        done(written.await, &why)
    }

    async fn update(&self, id: &str, changes: Item) -> Result<ExitCode, Failure> {
        if changes.is_empty() {
            let why = "nothing to change: give an attribute such as --active true";
            return Err(Failure::usage(why));
        }
        let written = self.targets.update(self.source, id, &changes);
        done(written.await, &none(id))
    }
}

fn none(id: &str) -> String {
    format!("there is no target {id}")
}

impl TargetsArgs {
    fn table(&self) -> Result<TableName, Failure> {
        let table = match &self.table {
            Some(table) => format!("table:{table}"),
            None => format!("table:{}Targets", self.function),
        };
        table
            .parse()
            .map_err(|expected| Failure::usage(format!("{expected}")))
    }
}

/// The table with the way there.
async fn open(table: TableName) -> Result<TargetsTable, Failure> {
    let access = Access::new(&ConnectArgs::default())?;
    let context = access.build_context(Ending::default());
    let options = connection(&table);
    let sdk = context.connector.sdk(&options).await;
    Ok(TargetsTable::new(&sdk, table))
}

fn active(value: bool) -> Item {
    [("active".to_owned(), Attribute::Boolean(value))].into()
}

/// The end of a change; `why` tells why nothing was changed.
fn done(result: Result<bool, Trouble>, why: &str) -> Result<ExitCode, Failure> {
    match result {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Err(Failure::run(why)),
        Err(trouble) => Err(Failure::run(chain(&trouble))),
    }
}

fn json(item: &Item) -> Value {
    let members = item.iter().map(|(name, attribute)| {
        let value = match attribute {
            Attribute::Text(text) => Value::from(text.as_str()),
            Attribute::Boolean(value) => Value::from(*value),
            Attribute::Other => Value::Null,
        };
        (name.clone(), value)
    });
    Value::Object(members.collect::<Map<String, Value>>())
}

fn list(items: &[Item], as_json: bool) -> Result<ExitCode, Failure> {
    let mut text = String::new();
    for item in items {
        let json = json(item);
        let line = if as_json {
            json.to_string()
        } else {
            line(&json)
        };
        text.push_str(&line);
        text.push('\n');
    }
    screen::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Id, type, destination and state, between tabs.
fn line(item: &Value) -> String {
    let of = |name: &str| item[name].as_str().unwrap_or_default();
    let state = match item["active"] {
        Value::Bool(true) => "active",
        _ => "not active",
    };
    [of(ID), of("type"), of("destination"), state].join("\t")
}

/// Prints the targets as outputs of a configuration.
fn import(items: &[Item], source: &str) -> Result<ExitCode, Failure> {
    let mut text = format!("from = \"{source}\"\n");
    for item in items {
        match Target::read(item) {
            Ok(target) => text.push_str(&output(&target)),
            Err(bad) => text.push_str(&format!("\n# {bad}\n")),
        }
    }
    screen::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn output(target: &Target) -> String {
    let kind = target.kind;
    let mut text = format!("\n[[output]]\ntype = \"{kind}\"\nname = {:?}\n", target.id);
    for (key, value) in &target.keys {
        text.push_str(&format!("{key} = {value}\n"));
    }
    if !target.active {
        text.push_str("paused = true\n");
    }
    if target.deaggregate {
        text.push_str("# deaggregate: an output of this type gets aggregates whole\n");
    }
    text
}
