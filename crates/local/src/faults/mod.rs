//! Misbehaviour on command.
//!
//! A [`Rule`] selects calls and says what is done to them; rules are looked at in the order in which they were added, and
//! all that match apply. What happens by chance is decided by one seeded generator, in the order of the calls.

mod rule;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use distributary_wire::error::ApiError;
use distributary_wire::op::Operation;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

pub use rule::{Action, Entries, OperationName, Rule, RuleError, Select};

use crate::errors;
use crate::local::lock;

/// Rules at one time.
const RULES_MAX: usize = 1000;

/// Names a rule that was added.
pub type RuleId = u64;

/// A rule and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct RuleStatus {
    /// Its id.
    pub id: RuleId,
    /// The rule.
    pub rule: Rule,
    /// Calls that it selected.
    pub selected: u64,
    /// Calls that it did something to.
    pub applied: u64,
}

/// What a call is about, for rules to select by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) operation: Operation,
    pub(crate) stream: Option<&'a str>,
    pub(crate) region: &'a str,
    pub(crate) shard: Shards<'a>,
    pub(crate) consumer: Option<&'a str>,
}

/// The shards that a call is about.
#[derive(Clone, Copy)]
pub(crate) enum Shards<'a> {
    None,
    One(&'a str),
    /// Those that the records of a write go to.
    Of(&'a dyn Fn(&str) -> bool),
}

impl std::fmt::Debug for Shards<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::One(id) => write!(f, "One({id})"),
            Self::Of(_) => f.write_str("Of(..)"),
        }
    }
}

/// Entries of a write that fail.
#[derive(Clone, Debug)]
pub(crate) struct FailedEntries {
    entries: Entries,
    shard: Option<String>,
    throttle: bool,
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryFault {
    Throttled,
    Failed,
}

/// How the answer of a call goes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Delivery {
    #[default]
    Whole,
    /// The connection breaks after so many bytes of the body.
    Cut(usize),
    /// The connection breaks before the answer.
    Broken,
    /// Nothing ever comes.
    Silent,
}

/// How a subscription goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum SubscriptionFault {
    End(Option<ApiError>),
    Break,
    Mute,
}

/// A wait.
#[derive(Clone, Debug)]
pub(crate) enum Wait {
    Ms(u64),
    Gate(String),
}

/// Everything that is done to one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects {
    pub(crate) before: Vec<Wait>,
    pub(crate) after: Vec<Wait>,
    pub(crate) error: Option<ApiError>,
    pub(crate) late_ms: Option<u64>,
    pub(crate) dropped: bool,
    pub(crate) delivery: Delivery,
    pub(crate) entries: Vec<FailedEntries>,
    pub(crate) expire_iterator: bool,
    pub(crate) empty_page: bool,
    pub(crate) subscription: Option<(u64, SubscriptionFault)>,
}

#[derive(Debug, Default)]
struct Rules {
    next_id: RuleId,
    rules: Vec<RuleStatus>,
    gates: BTreeMap<String, Gate>,
}

/// Those that wait at a gate.
#[derive(Debug, Default)]
struct Gate {
    /// Counts releases.
    released: u64,
    waiting: BTreeMap<u64, Waker>,
}

/// The misbehaviour of one embedded Kinesis.
#[derive(Clone, Debug)]
pub struct Faults {
    inner: Arc<FaultsInner>,
}

#[derive(Debug)]
struct FaultsInner {
    any: AtomicBool,
    iterator_epoch: AtomicU32,
    rules: Mutex<Rules>,
    rng: Mutex<StdRng>,
    subscriptions: Mutex<BTreeMap<u64, (Watched, Arc<crate::push::Control>)>>,
}

/// What a live subscription is to.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) stream: String,
    pub(crate) region: String,
    pub(crate) shard: String,
    pub(crate) consumer: String,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            inner: Arc::new(FaultsInner {
                any: AtomicBool::new(false),
                iterator_epoch: AtomicU32::new(0),
                rules: Mutex::default(),
                rng: Mutex::new(StdRng::seed_from_u64(seed)),
                subscriptions: Mutex::default(),
            }),
        }
    }

    /// Adds a rule, after those that are there.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn add(&self, rule: Rule) -> Result<RuleId, RuleError> {
        rule.check()?;
        let mut rules = lock(&self.inner.rules);
        if rules.rules.len() >= RULES_MAX {
            return Err(RuleError::TooMany { limit: RULES_MAX });
        }
        rules.next_id += 1;
        let id = rules.next_id;
        rules.rules.push(RuleStatus {
            id,
            rule,
            selected: 0,
            applied: 0,
        });
        self.inner.any.store(true, Ordering::Release);
        Ok(id)
    }

    /// Takes a rule away; false if there is none of that id.
    pub fn remove(&self, id: RuleId) -> bool {
        let mut rules = lock(&self.inner.rules);
        let before = rules.rules.len();
        rules.rules.retain(|r| r.id != id);
        self.inner
            .any
            .store(!rules.rules.is_empty(), Ordering::Release);
        rules.rules.len() < before
    }

    /// Takes all rules away, releases all gates and lets muted subscriptions speak.
    pub fn clear(&self) {
        let gates: Vec<String> = {
            let mut rules = lock(&self.inner.rules);
            rules.rules.clear();
            self.inner.any.store(false, Ordering::Release);
            rules.gates.keys().cloned().collect()
        };
        for gate in gates {
            self.release(&gate);
        }
        self.mute_subscriptions(&Select::default(), false);
    }

    /// The rules, and what became of them.
    pub fn list(&self) -> Vec<RuleStatus> {
        lock(&self.inner.rules).rules.clone()
    }

    /// Lets those go on that wait at a gate; says how many.
    pub fn release(&self, gate: &str) -> usize {
        let woken = {
            let mut rules = lock(&self.inner.rules);
            let Some(gate) = rules.gates.get_mut(gate) else {
                return 0;
            };
            gate.released += 1;
            std::mem::take(&mut gate.waiting)
        };
        let count = woken.len();
        for waker in woken.into_values() {
            waker.wake();
        }
        count
    }

    /// How many calls wait at a gate.
    pub fn held(&self, gate: &str) -> usize {
        lock(&self.inner.rules)
            .gates
            .get(gate)
            .map_or(0, |g| g.waiting.len())
    }

    /// Makes every shard iterator that has been given out so far an expired one.
    pub fn expire_iterators(&self) {
        self.inner.iterator_epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends live subscriptions now, with an error if there is one; says how many. `operations` is not looked at.
    pub fn end_subscriptions(&self, select: &Select, error: Option<&ApiError>) -> usize {
        let chosen = self.subscriptions(select);
        for control in &chosen {
            control.fault(SubscriptionFault::End(error.cloned()));
        }
        chosen.len()
    }

    /// Breaks the connections of live subscriptions now; says how many. `operations` is not looked at.
    pub fn break_subscriptions(&self, select: &Select) -> usize {
        let chosen = self.subscriptions(select);
        for control in &chosen {
            control.fault(SubscriptionFault::Break);
        }
        chosen.len()
    }

    /// Silences live subscriptions, or lets them speak again; says how many. `operations` is not looked at.
    pub fn mute_subscriptions(&self, select: &Select, mute: bool) -> usize {
        let chosen = self.subscriptions(select);
        for control in &chosen {
            control.mute(mute);
        }
        chosen.len()
    }

    fn subscriptions(&self, select: &Select) -> Vec<Arc<crate::push::Control>> {
        let all = lock(&self.inner.subscriptions);
        let is =
            |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|w| w == value);
        all.values()
            .filter(|(s, _)| {
                is(&select.stream, &s.stream)
                    && is(&select.region, &s.region)
                    && is(&select.shard, &s.shard)
                    && is(&select.consumer, &s.consumer)
            })
            .map(|(_, control)| Arc::clone(control))
            .collect()
    }

    pub(crate) fn watch(&self, waiter: u64, watched: Watched, control: Arc<crate::push::Control>) {
        lock(&self.inner.subscriptions).insert(waiter, (watched, control));
    }

    pub(crate) fn unwatch(&self, waiter: u64) {
        lock(&self.inner.subscriptions).remove(&waiter);
    }

    /// Iterators of earlier epochs have expired.
    pub(crate) fn iterator_epoch(&self) -> u32 {
        self.inner.iterator_epoch.load(Ordering::Acquire)
    }

    /// What is done to a call.
    pub(crate) fn decide(&self, subject: &Subject<'_>) -> Effects {
        let mut effects = Effects::default();
        if !self.inner.any.load(Ordering::Acquire) {
            return effects;
        }
        let mut rules = lock(&self.inner.rules);
        for status in &mut rules.rules {
            if !selects(&status.rule.select, subject) {
                continue;
            }
            status.selected += 1;
            let rule = &status.rule;
            let action = if rule.script.is_empty() {
                let spent = rule.times.is_some_and(|times| status.applied >= times);
                (!spent && self.chance(rule.probability)).then_some(&rule.action)
            } else {
                usize::try_from(status.selected - 1)
                    .ok()
                    .and_then(|at| rule.script.get(at))
            };
            if let Some(action) = action.filter(|a| **a != Action::Pass) {
                effects.add(action, &rule.select);
                status.applied += 1;
            }
        }
        effects
    }

    fn chance(&self, probability: f64) -> bool {
        // Without a draw where there is nothing to decide, so that such rules change no other's luck.
        probability >= 1.0 || (probability > 0.0 && lock(&self.inner.rng).random_bool(probability))
    }

    /// What becomes of one entry of a write.
    pub(crate) fn entry(
        &self,
        effects: &Effects,
        place: usize,
        key: Option<&str>,
        shard: &str,
    ) -> Option<EntryFault> {
        effects.entries.iter().find_map(|failed| {
            let Entries {
                probability,
                places,
                key: wanted,
            } = &failed.entries;
            let meant = failed.shard.as_deref().is_none_or(|s| s == shard)
                && places.as_ref().is_none_or(|p| p.contains(&place))
                && wanted.as_deref().is_none_or(|w| Some(w) == key)
                && self.chance(probability.unwrap_or(1.0));
            meant.then_some(if failed.throttle {
                EntryFault::Throttled
            } else {
                EntryFault::Failed
            })
        })
    }

    /// Completes when the gate is next released.
    pub(crate) fn wait_at(&self, gate: &str, waiter: u64) -> AtGate {
        let mut rules = lock(&self.inner.rules);
        let released = rules.gates.entry(gate.to_owned()).or_default().released;
        AtGate {
            faults: self.clone(),
            gate: gate.to_owned(),
            waiter,
            released,
        }
    }
}

fn selects(select: &Select, subject: &Subject<'_>) -> bool {
    let is = |wanted: &Option<String>, value: Option<&str>| {
        wanted.is_none() || wanted.as_deref() == value
    };
    let shard = match (&select.shard, subject.shard) {
        (None, _) => true,
        (Some(wanted), Shards::One(id)) => wanted == id,
        (Some(wanted), Shards::Of(touches)) => touches(wanted),
        (Some(_), Shards::None) => false,
    };
    let operation =
        select.operations.is_empty() || select.operations.iter().any(|o| o.0 == subject.operation);
    operation
        && is(&select.stream, subject.stream)
        && is(&select.region, Some(subject.region))
        && is(&select.consumer, subject.consumer)
        && shard
}

impl Effects {
    fn add(&mut self, action: &Action, select: &Select) {
        let shard = || select.shard.clone();
        let wait = |after: bool, wait: Wait, effects: &mut Self| {
            if after {
                effects.after.push(wait);
            } else {
                effects.before.push(wait);
            }
        };
        match action {
            Action::Pass => {}
            Action::ThrottleEntries(entries) => {
                self.entries.push(FailedEntries {
                    entries: entries.clone(),
                    shard: shard(),
                    throttle: true,
                });
            }
            Action::FailEntries(entries) => {
                self.entries.push(FailedEntries {
                    entries: entries.clone(),
                    shard: shard(),
                    throttle: false,
                });
            }
            Action::Error {
                code,
                message,
                status,
            } => {
                self.error = Some(rule::error_of(code, message, *status));
            }
            Action::ExpireToken => self.error = Some(errors::expired_token()),
            Action::Delay { ms, after } => wait(*after, Wait::Ms(*ms), self),
            Action::Hold { gate, after } => wait(*after, Wait::Gate(gate.clone()), self),
            Action::CutAnswer { after_bytes } => self.delivery = Delivery::Cut(*after_bytes),
            Action::LoseReply { hang: false } => self.delivery = Delivery::Broken,
            Action::LoseReply { hang: true } => self.delivery = Delivery::Silent,
            Action::Late { ms } => self.late_ms = Some(*ms),
            Action::DropConnection => self.dropped = true,
            Action::ExpireIterator => self.expire_iterator = true,
            Action::EmptyPage => self.empty_page = true,
            Action::EndSubscription { after_events, code } => {
                let error = code.as_deref().map(|code| rule::error_of(code, "", None));
                self.subscription = Some((*after_events, SubscriptionFault::End(error)));
            }
            Action::BreakSubscription { after_events } => {
                self.subscription = Some((*after_events, SubscriptionFault::Break));
            }
            Action::MuteSubscription { after_events } => {
                self.subscription = Some((*after_events, SubscriptionFault::Mute));
            }
        }
    }
}

/// Somebody who waits at a gate.
#[derive(Debug)]
pub(crate) struct AtGate {
    faults: Faults,
    gate: String,
    waiter: u64,
    released: u64,
}

impl Future for AtGate {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut rules = lock(&self.faults.inner.rules);
        let Some(gate) = rules.gates.get_mut(&self.gate) else {
            return Poll::Ready(());
        };
        if gate.released > self.released {
            return Poll::Ready(());
        }
        gate.waiting.insert(self.waiter, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for AtGate {
    fn drop(&mut self) {
        if let Some(gate) = lock(&self.faults.inner.rules).gates.get_mut(&self.gate) {
            gate.waiting.remove(&self.waiter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(operation: Operation, stream: &'static str) -> Subject<'static> {
        Subject {
            operation,
            stream: Some(stream),
            region: "r",
            shard: Shards::None,
            consumer: None,
        }
    }

    #[test]
    fn rules_select_and_count() {
        let faults = Faults::new(1);
        let rule = Rule::always(Operation::PutRecords, Action::ExpireToken)
            .stream("a")
            .times(2);
        let id = faults.add(rule).unwrap();
        let failed = |s: &Subject<'_>| faults.decide(s).error.is_some();
        assert!(!failed(&subject(Operation::PutRecords, "b")));
        assert!(!failed(&subject(Operation::GetRecords, "a")));
        assert!(failed(&subject(Operation::PutRecords, "a")));
        assert!(failed(&subject(Operation::PutRecords, "a")));
        assert!(!failed(&subject(Operation::PutRecords, "a")));
        let status = &faults.list()[0];
        assert_eq!((status.id, status.selected, status.applied), (id, 3, 2));
        assert!(faults.remove(id) && !faults.remove(id));
    }

    #[test]
    fn a_script_is_gone_through_once() {
        let faults = Faults::new(1);
        let script = vec![
            Action::Pass,
            Action::DropConnection,
            Action::LoseReply { hang: true },
        ];
        faults
            .add(Rule::script(Operation::PutRecord, script))
            .unwrap();
        let seen: Vec<_> = (0..4)
            .map(|_| {
                let effects = faults.decide(&subject(Operation::PutRecord, "a"));
                (effects.dropped, effects.delivery)
            })
            .collect();
        let whole = (false, Delivery::Whole);
        assert_eq!(
            seen,
            [
                whole,
                (true, Delivery::Whole),
                (false, Delivery::Silent),
                whole
            ]
        );
    }

    #[test]
    fn chance_is_seeded() {
        let run = |seed| {
            let faults = Faults::new(seed);
            faults
                .add(Rule::always(Operation::PutRecord, Action::DropConnection).probability(0.3))
                .unwrap();
            (0..200)
                .map(|_| faults.decide(&subject(Operation::PutRecord, "a")).dropped)
                .collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let hits = run(7).iter().filter(|d| **d).count();
        assert!((30..90).contains(&hits), "{hits}");
    }

    #[test]
    fn entries_are_chosen_by_place_key_and_shard() {
        let faults = Faults::new(1);
        let places = Entries {
            places: Some(vec![1]),
            ..Entries::default()
        };
        let key = Entries {
            key: Some("k".into()),
            ..Entries::default()
        };
        faults
            .add(Rule::always(Operation::PutRecords, Action::ThrottleEntries(places)).shard("s1"))
            .unwrap();
        faults
            .add(Rule::always(
                Operation::PutRecords,
                Action::FailEntries(key),
            ))
            .unwrap();
        let touches = |s: &str| s == "s1";
        let put = Subject {
            shard: Shards::Of(&touches),
            ..subject(Operation::PutRecords, "a")
        };
        let effects = faults.decide(&put);
        let entry = |place, key, shard| faults.entry(&effects, place, Some(key), shard);
        assert_eq!(entry(1, "x", "s1"), Some(EntryFault::Throttled));
        assert_eq!(entry(1, "x", "s2"), None);
        assert_eq!(entry(0, "k", "s2"), Some(EntryFault::Failed));
        assert_eq!(entry(0, "x", "s1"), None);
    }

    #[test]
    fn rules_come_as_json() {
        let text = r#"{"select":{"operations":["PutRecords"],"stream":"out"},"probability":0.5,
            "action":{"throttle_entries":{"probability":0.25}}}"#;
        let rule: Rule = serde_json::from_str(text).unwrap();
        assert_eq!(
            rule.select.operations,
            [OperationName(Operation::PutRecords)]
        );
        let back: Rule = serde_json::from_str(&serde_json::to_string(&rule).unwrap()).unwrap();
        assert_eq!(back, rule);
        let script: Rule = serde_json::from_str(
            r#"{"script":["pass",{"delay":{"ms":5}},{"lose_reply":{}},"drop_connection"]}"#,
        )
        .unwrap();
        assert_eq!(script.script.len(), 4);
        for bad in [
            r#"{"select":{"operations":["PutRecord5"]}}"#,
            r#"{"action":"explode"}"#,
            r#"{"actoin":"pass"}"#,
        ] {
            assert!(serde_json::from_str::<Rule>(bad).is_err(), "{bad}");
        }
        assert!(
            Faults::new(1)
                .add(Rule {
                    probability: 2.0,
                    ..rule
                })
                .is_err()
        );
    }
}
