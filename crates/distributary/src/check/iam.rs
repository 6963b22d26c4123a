//! The least IAM policies that a configuration needs.

use std::collections::{BTreeMap, BTreeSet};

use distributary_adapters::kind::Permission;
use distributary_adapters::outputs::OutputSettings;
use distributary_config::{FanOutConfig, OutputConfig, OutputPattern, Process};
use serde_json::{Map, Value, json};

/// The name of the policy for the credentials that the program finds.
const OWN: &str = "credentials of the program";
/// The name that stands for those of a pattern.
const ANY_NAME: &str = "name";

/// Actions by resource.
type Statements = BTreeMap<String, BTreeSet<&'static str>>;

/// A policy document for each role, by the role's ARN.
pub(crate) fn policies(process: &Process) -> Value {
    let mut roles: BTreeMap<Option<String>, Statements> = BTreeMap::new();
    for permission in process.fan_outs.iter().flat_map(of_fan_out) {
        if let Some(role) = &permission.role {
            let own = roles.entry(None).or_default();
            let assumed = own.entry(role.clone()).or_default();
            assumed.insert("sts:AssumeRole");
        }
        let statements = roles.entry(permission.role).or_default();
        let actions = statements.entry(permission.resource).or_default();
        actions.extend(permission.actions);
    }

    let mut documents = Map::new();
    for (role, statements) in roles {
        let name = role.unwrap_or_else(|| OWN.to_owned());
        documents.insert(name, document(&statements));
    }
    documents.into()
}

/// One policy document; resources with the same actions are one statement.
fn document(statements: &Statements) -> Value {
    let mut by_actions: BTreeMap<&BTreeSet<&str>, Vec<&str>> = BTreeMap::new();
    for (resource, actions) in statements {
        let resources = by_actions.entry(actions).or_default();
        resources.push(resource);
    }

    let mut statements = Vec::new();
    for (actions, resources) in by_actions {
        let statement = json!({
            "Effect": "Allow",
            "Action": actions,
            "Resource": resources,
        });
        statements.push(statement);
    }
    json!({
        "Version": "2012-10-17",
        "Statement": statements,
    })
}

fn of_fan_out(fan_out: &FanOutConfig) -> Vec<Permission> {
    let mut all = fan_out.source.permissions();
    all.extend(fan_out.outputs.iter().flat_map(of_output));
    all.extend(fan_out.patterns.iter().flat_map(of_pattern));
    all
}

fn of_output(output: &OutputConfig) -> Vec<Permission> {
    let mut all = output.settings.permissions();
    let dead_letter = output.refused.dead_letter();
    all.extend(
        dead_letter
            .map(OutputSettings::permissions)
            .unwrap_or_default(),
    );
    all
}

fn of_pattern(pattern: &OutputPattern) -> Vec<Permission> {
    let Ok(output) = pattern.output(ANY_NAME) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for permission in of_output(&output) {
        let Some(start) = permission.resource.strip_suffix(ANY_NAME) else {
            all.push(permission);
            continue;
        };
        let mut actions = permission.actions.clone();
        if pattern.tag.is_some() {
            actions.push("kinesis:ListTagsForStream");
        }
        for name in pattern.names.included() {
            let resource = format!("{start}{name}");
            let role = permission.role.clone();
            let actions = actions.clone();
            all.push(Permission {
                role,
                actions,
                resource,
            });
        }
        all.push(listing(&permission));
    }
    all
}

/// The permission to find the places.
fn listing(of: &Permission) -> Permission {
    let role = of.role.clone();
    Permission {
        role,
        actions: vec!["kinesis:ListStreams"],
        resource: "*".to_owned(),
    }
}
