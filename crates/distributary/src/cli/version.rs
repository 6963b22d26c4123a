//! The text of `--version`: the version, the commit, and the parts that this build has.

use std::sync::LazyLock;

use distributary_adapters::kind::Kind;
use distributary_config::Registry;

/// The version, as the manifest has it.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that a release is built from; the release build sets the variable.
const COMMIT: Option<&str> = option_env!("DISTRIBUTARY_COMMIT");

/// The cargo features that are no kind of output or source.
const FEATURES: &[(&str, bool)] = &[
    ("full", cfg!(feature = "full")),
    ("dynamodb", cfg!(feature = "dynamodb")),
];

/// Version, commit, features and kinds, each on a line.
pub(super) static LONG: LazyLock<String> = LazyLock::new(long);

fn long() -> String {
    let registry = Registry::default();
    let commit = COMMIT.unwrap_or("not named by this build");
    let mut features = Vec::new();
    for (name, is_on) in FEATURES {
        if *is_on {
            features.push(*name);
        }
    }

    let features = or_none(&features);
    let outputs = built_in(&registry.outputs);
    let outputs = or_none(&outputs);
    let sources = built_in(&registry.sources);
    let sources = or_none(&sources);
    format!(
        "{VERSION}\ncommit: {commit}\nfeatures: {features}\noutputs: {outputs}\nsources: {sources}"
    )
}

fn built_in<S>(kinds: &[Kind<S>]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for kind in kinds {
        if kind.is_built_in() {
            names.push(kind.name);
        }
    }
    names
}

fn or_none(names: &[&str]) -> String {
    match names {
        [] => "none beyond the default".to_owned(),
        names => names.join(", "),
    }
}
