//! The streams that the fan-outs of a process read and write, by identity: settings alone do not
//! always show that two names are one stream.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The routes of all fan-outs. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub(crate) struct Routes(Arc<Mutex<BTreeMap<String, Ends>>>);

/// The ends of one fan-out's route, by identity.
struct Ends {
    source: String,
    /// By the output's name.
    outputs: BTreeMap<String, String>,
}

/// The entry of one fan-out, removed with the value.
pub(crate) struct Route {
    routes: Routes,
    fan_out: String,
}

impl Routes {
    /// Enters a fan-out without outputs.
    pub(crate) fn enter(&self, fan_out: &str, source: &str) -> Route {
        let fan_out = fan_out.to_owned();
        let source = source.to_owned();
        let ends = Ends {
            source,
            outputs: BTreeMap::new(),
        };

        self.with(|all| all.insert(fan_out.clone(), ends));
        let routes = self.clone();
        Route { routes, fan_out }
    }

    fn with<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Ends>) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut all)
    }
}

impl Route {
    /// Adds an output, unless records would come back to the source.
    ///
    /// # Errors
    /// A sentence about the circle.
    pub(crate) fn add(&self, output: &str, identity: &str) -> Result<(), String> {
        let fan_out = &self.fan_out;
        self.routes.with(|all| {
            if let Some(reader) = way_back(fan_out, identity, all) {
                return Err(format!(
                    "the output {output} is the source of the fan-out {reader}, whose records come \
                     back to the source of {fan_out}: they would be copied round and round; leave \
                     one of these outputs out"
                ));
            }

            if let Some(ends) = all.get_mut(fan_out) {
                let output = output.to_owned();
                let identity = identity.to_owned();
                ends.outputs.insert(output, identity);
            }
            Ok(())
        })
    }

    /// Removes an output.
    pub(crate) fn remove(&self, output: &str) {
        self.routes.with(|all| {
            let ends = all.get_mut(&self.fan_out);
            ends.and_then(|ends| ends.outputs.remove(output))
        });
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        self.routes.with(|all| all.remove(&self.fan_out));
    }
}

/// The fan-out that reads `written`, if its records reach the source of `fan_out`.
fn way_back(fan_out: &str, written: &str, all: &BTreeMap<String, Ends>) -> Option<String> {
    let own = all.get(fan_out)?;
    let mut readers = all.iter();
    let reads = |(_, ends): &(&String, &Ends)| ends.source == written;
    let (first, _) = readers.find(reads)?;

    let reached = reached_from(written, all);
    let comes_back = reached.contains(&own.source.as_str());
    comes_back.then(|| first.clone())
}

/// The streams that the records of `stream` reach, with the stream itself.
fn reached_from<'a>(stream: &'a str, all: &'a BTreeMap<String, Ends>) -> Vec<&'a str> {
    let mut reached = vec![stream];
    let mut at = 0;
    while let Some(&stream) = reached.get(at) {
        at += 1;
        let fed = fed_by(stream, all);
        for next in fed {
            if !reached.contains(&next) {
                reached.push(next);
            }
        }
    }
    reached
}

/// The streams that fan-outs copy `stream` to.
fn fed_by<'a>(stream: &str, all: &'a BTreeMap<String, Ends>) -> Vec<&'a str> {
    let mut fed = Vec::new();
    for ends in all.values() {
        if ends.source == stream {
            let outputs = ends.outputs.values();
            fed.extend(outputs.map(String::as_str));
        }
    }
    fed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_of_streams_is_refused_until_it_is_open() {
        let routes = Routes::default();
        let first = routes.enter("first", "a");
        let second = routes.enter("second", "b");
        let third = routes.enter("third", "c");
        assert_eq!(first.add("b", "b"), Ok(()));
        assert_eq!(second.add("c", "c"), Ok(()));
        assert_eq!(third.add("d", "d"), Ok(()));
        let told = third.add("a", "a").unwrap_err();
        assert!(told.contains("source of the fan-out first"), "{told}");

        second.remove("c");
        assert_eq!(third.add("a", "a"), Ok(()));
        assert!(second.add("c", "c").is_err());
        drop(first);
        assert_eq!(second.add("c", "c"), Ok(()));
    }
}
