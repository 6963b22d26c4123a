//! Values from outside the file: flags and environment variables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use distributary_adapters::values::nearest;

use crate::keys::{self, VARIABLE_PREFIX, variable};
use crate::mistake::{Mistakes, Place, Result};
use crate::outputs::TAG_PREFIX;
use crate::registry::Registry;
use crate::table::Table;

/// The variable and flag of the list of outputs.
pub const TO: &str = "to";
/// The flag of outputs that are found by tag.
pub const TO_TAG: &str = "to-tag";

/// Flags and environment variables, as far as they were given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Input {
    /// Values of flags.
    pub flags: Table,
    /// Values of environment variables.
    pub variables: Table,
    /// Outputs as shorthands; if there are any, the outputs of the file do not count.
    pub to: Vec<(Place, String)>,
    /// True: the streams are in a Kinesis server embedded in this process.
    pub embedded: bool,
    /// The folder for files that keep state, as the environment has it.
    pub state_folder: Option<PathBuf>,
    /// Sentences about variables that mean nothing.
    pub warnings: Vec<String>,
    mistakes: Mistakes,
}

impl Input {
    /// Adds the flag `--name text`.
    pub fn flag(&mut self, registry: &Registry, name: &str, text: &str) {
        let place = Place::Flag(name.to_owned());
        let read = read(registry, name, text, &place, &mut self.flags);
        self.mistakes.take(read);
    }

    /// Takes the outputs of the flag `--to`, in place of the environment's.
    pub fn outputs_of_flags(&mut self, to: &[String]) {
        if !to.is_empty() {
            let place = Place::Flag(TO.to_owned());
            let texts = to.iter().map(String::as_str);
            self.to = shorthands(texts, &place);
        }
    }

    /// Adds outputs by the flag `--to-tag`.
    pub fn tags_of_flags(&mut self, tags: &[String]) {
        let place = Place::Flag(TO_TAG.to_owned());
        for tag in tags {
            let shorthand = format!("{TAG_PREFIX}{tag}");
            let place = place.clone();
            self.to.push((place, shorthand));
        }
    }

    /// Takes the variables that begin with `DISTRIBUTARY_`. An empty one counts as not set.
    /// `others` are the variables that the program uses by itself; one that nobody uses gives a
    /// warning.
    pub fn environment(
        &mut self,
        registry: &Registry,
        environment: &BTreeMap<String, String>,
        others: &[&str],
    ) {
        self.state_folder = state_folder(environment);
        for (name, value) in environment {
            let is_ours = name.starts_with(VARIABLE_PREFIX);
            let is_other = others.contains(&name.as_str());
            if !is_ours || is_other || value.is_empty() {
                continue;
            }

            if *name == variable(TO) {
                let place = Place::Variable(name.clone());
                self.to = shorthands(value.split(','), &place);
            } else {
                self.variable(registry, name, value, others);
            }
        }
    }

    fn variable(&mut self, registry: &Registry, name: &str, value: &str, others: &[&str]) {
        let place = Place::Variable(name.to_owned());
        let keys = registry.top_keys();
        let key = keys.iter().find(|key| variable(key.name) == name);
        match key {
            Some(key) => {
                let read = read(registry, key.name, value, &place, &mut self.variables);
                self.mistakes.take(read);
            }
            None => {
                let warning = unknown_variable(registry, name, others);
                self.warnings.push(warning);
            }
        }
    }

    /// Wrong values of flags and variables.
    pub fn mistakes(&self) -> &Mistakes {
        &self.mistakes
    }
}

fn read(
    registry: &Registry,
    name: &str,
    text: &str,
    place: &Place,
    into: &mut Table,
) -> Result<()> {
    let keys = registry.top_keys();
    let Some(key) = keys::find(&keys, name) else {
        return Err(Mistakes::one(place, "there is no such key"));
    };
    let value = key.form.read(text);
    let value = value.map_err(Mistakes::at(place))?;
    into.set(key.name, value, place);
    Ok(())
}

fn shorthands<'a>(texts: impl Iterator<Item = &'a str>, place: &Place) -> Vec<(Place, String)> {
    texts
        .map(|text| (place.clone(), text.trim().to_owned()))
        .collect()
}

fn unknown_variable(registry: &Registry, name: &str, others: &[&str]) -> String {
    // The prefix, which all variables have, would make them alike.
    let known = known_keys(registry, others);
    let near = nearest(&key_of(name), known.iter().map(String::as_str));
    let hint = match near {
        Some(near) => format!("; did you mean {}?", variable(near)),
        None => String::new(),
    };
    format!("the environment variable {name} means nothing here{hint}")
}

/// The keys of all variables that mean something.
fn known_keys(registry: &Registry, others: &[&str]) -> Vec<String> {
    let mut names = keys::names(registry.top_keys());
    names.push(TO);
    let names = names.into_iter().chain(others.iter().copied());
    names.map(key_of).collect()
}

/// The key that a variable would be of.
fn key_of(variable: &str) -> String {
    let name = variable.strip_prefix(VARIABLE_PREFIX);
    let name = name.unwrap_or(variable);
    name.to_lowercase().replace('_', "-")
}

/// `$XDG_STATE_HOME/distributary`, else `~/.local/state/distributary`. Relative paths do not count.
pub fn state_folder(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = PathBuf::from(environment.get(name)?);
        path.is_absolute().then_some(path)
    };
    let home = || Some(absolute("HOME")?.join(".local/state"));
    let folder = absolute("XDG_STATE_HOME").or_else(home)?;
    Some(folder.join("distributary"))
}

/// The default state file of the fan-out `name`: in `folder`, else in the working directory.
pub fn state_file(folder: Option<&Path>, name: &str) -> PathBuf {
    let file = format!("{name}.db");
    folder.map_or_else(|| PathBuf::from(&file), |folder| folder.join(&file))
}
