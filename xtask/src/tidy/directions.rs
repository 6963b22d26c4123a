//! The directions of dependencies between the crates of the repository.

use std::collections::BTreeSet;

use serde_json::Value;

/// Allowed dependencies of each crate on others of the repository (ARCHITECTURE.md), be the kind
/// normal, build or dev. A crate that is not in the list may depend on none, so that a new crate
/// is a decision.
const ALLOWED: &[(&str, &[&str])] = &[
    ("distributary-wire", &[]),
    ("distributary-core", &[]),
    (
        "distributary-kinesis",
        &["distributary-wire", "distributary-core"],
    ),
    ("distributary-local", &["distributary-wire"]),
    ("distributary-sql", &["distributary-core"]),
    ("distributary-filter", &["distributary-core"]),
    (
        "distributary-adapters",
        &[
            "distributary-core",
            "distributary-kinesis",
            "distributary-wire",
        ],
    ),
    (
        "distributary-config",
        &[
            "distributary-adapters",
            "distributary-core",
            "distributary-filter",
            "distributary-kinesis",
            "distributary-sql",
            "distributary-wire",
        ],
    ),
    (
        "distributary-lambda",
        &[
            "distributary-adapters",
            "distributary-config",
            "distributary-core",
            "distributary-kinesis",
            "distributary-local",
            "distributary-sql",
            "distributary-wire",
        ],
    ),
    (
        "distributary-sim",
        &[
            "distributary-core",
            "distributary-kinesis",
            "distributary-local",
            "distributary-wire",
        ],
    ),
    (
        "distributary",
        &[
            "distributary-adapters",
            "distributary-config",
            "distributary-core",
            "distributary-filter",
            "distributary-kinesis",
            "distributary-local",
            "distributary-sql",
            "distributary-wire",
        ],
    ),
    ("xtask", &[]),
];

/// Every dependency of one crate of the repository on another stands in [`ALLOWED`].
pub(super) fn check(metadata: &Value, findings: &mut Vec<String>) {
    let packages = items(&metadata["packages"]);
    if packages.is_empty() {
        findings.push("cargo metadata: no packages".to_owned());
    }

    let ours: BTreeSet<&str> = packages.iter().map(name_of).collect();
    for package in packages {
        check_package(package, &ours, findings);
    }
}

fn check_package(package: &Value, ours: &BTreeSet<&str>, findings: &mut Vec<String>) {
    let name = name_of(package);
    let mut allowed = ALLOWED.iter();
    let Some((_, may)) = allowed.find(|(known, _)| *known == name) else {
        findings.push(format!(
            "{name}: not in ALLOWED of xtask/src/tidy/directions.rs; add the allowed dependencies"
        ));
        return;
    };

    for dependency in items(&package["dependencies"]) {
        let on = name_of(dependency);
        if on == name || !ours.contains(on) || may.contains(&on) {
            continue;
        }

        let kind = dependency["kind"].as_str().unwrap_or("normal");
        findings.push(format!(
            "{name}: may not depend on {on} ({kind} dependency)"
        ));
    }
}

fn items(list: &Value) -> &[Value] {
    match list {
        Value::Array(items) => items,
        _ => &[],
    }
}

fn name_of(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, on: &[(&str, Option<&str>)]) -> Value {
        let dependencies: Vec<Value> = on
            .iter()
            .map(|(n, k)| serde_json::json!({"name": n, "kind": k}))
            .collect();
        serde_json::json!({"name": name, "dependencies": dependencies})
    }

    fn found(packages: &[Value]) -> Vec<String> {
        let mut findings = Vec::new();
        check(&serde_json::json!({ "packages": packages }), &mut findings);
        findings
    }

    #[test]
    fn kinesis_and_local_may_not_know_each_other_not_even_in_tests() {
        let local = package("distributary-local", &[("serde", None)]);
        let kinesis = package(
            "distributary-kinesis",
            &[("distributary-local", Some("dev"))],
        );
        let findings = found(&[local, kinesis]);
        assert_eq!(
            findings,
            ["distributary-kinesis: may not depend on distributary-local (dev dependency)"]
        );
    }

    #[test]
    fn nothing_may_depend_on_the_binary() {
        for (name, _) in ALLOWED.iter().filter(|(n, _)| *n != "distributary") {
            let findings = found(&[
                package("distributary", &[]),
                package(name, &[("distributary", None)]),
            ]);
            assert_eq!(findings.len(), 1, "{name}: {findings:?}");
        }
    }

    #[test]
    fn a_crate_without_a_decision_is_a_finding() {
        assert_eq!(found(&[package("distributary-new", &[])]).len(), 1);
        assert_eq!(found(&[]).len(), 1, "no packages at all is not tidy either");
    }
}
