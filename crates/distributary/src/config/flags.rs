//! Keys of the configuration as flags.

use clap::{Arg, ArgMatches, Command};
use distributary_adapters::keys::{Form, Key};
use distributary_config::{Input, Registry, keys};

/// The flags of `run` that are keys of the configuration, as far as they were given.
#[derive(Debug)]
pub(crate) struct KeyFlags(Vec<(&'static str, String)>);

impl KeyFlags {
    /// Adds the flags to `input`.
    pub(crate) fn add_to(&self, input: &mut Input, registry: &Registry) {
        for (name, text) in &self.0 {
            input.flag(registry, name, text);
        }
    }
}

impl clap::FromArgMatches for KeyFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for key in Registry::default().top_keys() {
            if let Some(text) = matches.get_one::<String>(key.name) {
                given.push((key.name, text.clone()));
            }
        }
        Ok(Self(given))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for KeyFlags {
    fn augment_args(command: Command) -> Command {
        let keys = Registry::default().top_keys();
        command.args(keys.into_iter().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The flag of a key.
fn argument(key: &'static Key) -> Arg {
    let help = match key.default_text() {
        "" => key.help.to_owned(),
        default => format!("{} [default: {default}]", key.help),
    };
    let argument = Arg::new(key.name)
        .long(key.name)
        .value_name(key.form.placeholder())
        .help(help);

    let argument = match heading(key) {
        Some(heading) => argument.help_heading(heading),
        None => argument.display_order(0),
    };
    match key.form {
        Form::Boolean => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        // A time ago, such as -1h.
        Form::Start => argument.allow_hyphen_values(true),
        _ => argument,
    }
}

/// The group of a flag in the help text; the keys of one fan-out come first, without a heading.
fn heading(key: &Key) -> Option<&'static str> {
    let is_in = |keys: &[Key]| keys.iter().any(|other| other.name == key.name);
    if is_in(keys::FAN_OUT) {
        None
    } else if is_in(keys::DELIVERY) {
        Some("Delivery")
    } else if is_in(keys::PROCESS) {
        Some("Process")
    } else {
        Some("Connection and streams")
    }
}
