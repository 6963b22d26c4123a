//! Faults on command.
//!
//! A [`Rule`] selects calls and has an action for each selected call. All rules that select a call
//! apply, in the order in which the rules were added. One seeded generator decides all chances, in
//! the order of the calls.

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
use crate::push::Control;

/// The largest number of rules.
const RULES_MAX: usize = 1000;

/// The id of a rule.
pub type RuleId = u64;

/// A rule, and how many calls the rule has applied to.
#[derive(Clone, Debug, Serialize)]
pub struct RuleStatus {
    /// The rule's id.
    pub id: RuleId,
    /// The rule.
    pub rule: Rule,
    /// Calls that the rule selected.
    pub selected: u64,
    /// Selected calls with an action other than [`Action::Pass`].
    pub applied: u64,
}

/// The properties of a call that rules select by.
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
    /// The shards that records of a write go to: true for the id of such a shard.
    Touched(&'a dyn Fn(&str) -> bool),
}

impl std::fmt::Debug for Shards<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::One(id) => write!(f, "One({id})"),
            Self::Touched(_) => f.write_str("Touched(..)"),
        }
    }
}

/// Entries of a write that fail.
#[derive(Clone, Debug)]
pub(crate) struct FailedEntries {
    entries: Entries,
    /// The id of the shard; `None` for every shard.
    shard: Option<String>,
    fault: EntryFault,
}

/// The failure of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryFault {
    Throttled,
    Failed,
}

/// The way in which an answer is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Delivery {
    #[default]
    Whole,
    /// The connection breaks after this many bytes of the body.
    Cut(usize),
    /// The connection breaks before the answer.
    Broken,
    /// The connection stays open without an answer.
    Silent,
}

/// A fault of a subscription.
#[derive(Clone, Debug)]
pub(crate) enum SubscriptionFault {
    /// Ends, with an exception if given.
    End(Option<ApiError>),
    /// Ends with a broken connection.
    Break,
    /// Sends nothing more, neither records nor heartbeats.
    Mute,
}

#[derive(Clone, Debug)]
pub(crate) enum Wait {
    Millis(u64),
    /// Until the gate of this name is opened.
    Gate(String),
}

/// The effects of all rules on one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects {
    /// Waits before the call is carried out.
    pub(crate) before: Vec<Wait>,
    /// Waits before the answer is sent.
    pub(crate) after: Vec<Wait>,
    /// Answered instead of carrying out the call.
    pub(crate) error: Option<ApiError>,
    /// Delay of a write that is carried out after the caller was left without an answer.
    pub(crate) late_ms: Option<u64>,
    /// The call is not carried out, and the connection breaks.
    pub(crate) drops_connection: bool,
    pub(crate) delivery: Delivery,
    pub(crate) entries: Vec<FailedEntries>,
    pub(crate) expire_iterator: bool,
    pub(crate) empty_page: bool,
    /// A fault of the subscription, and the number of events before the fault.
    pub(crate) subscription: Option<(u64, SubscriptionFault)>,
}

#[derive(Debug, Default)]
struct Rules {
    next_id: RuleId,
    rules: Vec<RuleStatus>,
    gates: BTreeMap<String, Gate>,
}

/// A gate and the calls that wait there.
#[derive(Debug, Default)]
struct Gate {
    /// How many times the gate has been released.
    released: u64,
    /// Wakers of the waiting calls, by the number of the waiter.
    waiting: BTreeMap<u64, Waker>,
}

/// The faults of one embedded Kinesis. Clones share all rules.
#[derive(Clone, Debug)]
pub struct Faults {
    inner: Arc<FaultsInner>,
}

#[derive(Debug)]
struct FaultsInner {
    /// False without rules, so that calls need no lock.
    has_rules: AtomicBool,
    /// Increased to expire all iterators.
    iterator_epoch: AtomicU32,
    rules: Mutex<Rules>,
    rng: Mutex<StdRng>,
    /// By the number of the waiter.
    subscriptions: Mutex<BTreeMap<u64, LiveSubscription>>,
}

/// A live subscription, and the properties that a [`Select`] compares.
#[derive(Debug)]
pub(crate) struct LiveSubscription {
    pub(crate) stream: String,
    pub(crate) region: String,
    pub(crate) shard: String,
    pub(crate) consumer: String,
    pub(crate) control: Arc<Control>,
}

impl LiveSubscription {
    fn is_selected(&self, select: &Select) -> bool {
        matches(select.stream.as_deref(), Some(&self.stream))
            && matches(select.region.as_deref(), Some(&self.region))
            && matches(select.shard.as_deref(), Some(&self.shard))
            && matches(select.consumer.as_deref(), Some(&self.consumer))
    }
}

/// True if a member of a [`Select`] is not set or has the value.
fn matches(selected: Option<&str>, value: Option<&str>) -> bool {
    selected.is_none() || selected == value
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            inner: Arc::new(FaultsInner {
                has_rules: AtomicBool::new(false),
                iterator_epoch: AtomicU32::new(0),
                rules: Mutex::default(),
                rng: Mutex::new(StdRng::seed_from_u64(seed)),
                subscriptions: Mutex::default(),
            }),
        }
    }

    /// Adds a rule after the other rules.
    ///
    /// # Errors
    /// [`RuleError`] for a wrong rule or too many rules.
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
        self.inner.has_rules.store(true, Ordering::Release);
        Ok(id)
    }

    /// Removes a rule. False if no rule has the id.
    pub fn remove(&self, id: RuleId) -> bool {
        let mut rules = lock(&self.inner.rules);
        let before = rules.rules.len();
        rules.rules.retain(|r| r.id != id);
        self.inner
            .has_rules
            .store(!rules.rules.is_empty(), Ordering::Release);
        rules.rules.len() < before
    }

    /// Removes all rules, releases all gates and unmutes all subscriptions.
    pub fn clear(&self) {
        let gates: Vec<String> = {
            let mut rules = lock(&self.inner.rules);
            rules.rules.clear();
            self.inner.has_rules.store(false, Ordering::Release);
            rules.gates.keys().cloned().collect()
        };

        for gate in gates {
            self.release(&gate);
        }
        self.mute_subscriptions(&Select::default(), false);
    }

    /// The rules in order, and how many calls each rule has applied to.
    pub fn list(&self) -> Vec<RuleStatus> {
        lock(&self.inner.rules).rules.clone()
    }

    /// Lets the calls that wait at a gate continue. Returns their number.
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

    /// The number of calls that wait at a gate.
    pub fn held(&self, gate: &str) -> usize {
        lock(&self.inner.rules)
            .gates
            .get(gate)
            .map_or(0, |g| g.waiting.len())
    }

    /// Expires every shard iterator made so far.
    pub fn expire_iterators(&self) {
        self.inner.iterator_epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends live subscriptions, with an exception if given. Returns their number. Ignores
    /// [`Select::operations`].
    pub fn end_subscriptions(&self, select: &Select, error: Option<&ApiError>) -> usize {
        let chosen = self.live_controls(select);
        for control in &chosen {
            control.apply(SubscriptionFault::End(error.cloned()));
        }
        chosen.len()
    }

    /// Breaks the connections of live subscriptions. Returns their number. Ignores
    /// [`Select::operations`].
    pub fn break_subscriptions(&self, select: &Select) -> usize {
        let chosen = self.live_controls(select);
        for control in &chosen {
            control.apply(SubscriptionFault::Break);
        }
        chosen.len()
    }

    /// Mutes or unmutes live subscriptions. Returns their number. Ignores [`Select::operations`].
    pub fn mute_subscriptions(&self, select: &Select, mute: bool) -> usize {
        let chosen = self.live_controls(select);
        for control in &chosen {
            control.mute(mute);
        }
        chosen.len()
    }

    /// The controls of the live subscriptions that a selection chooses.
    fn live_controls(&self, select: &Select) -> Vec<Arc<Control>> {
        lock(&self.inner.subscriptions)
            .values()
            .filter(|live| live.is_selected(select))
            .map(|live| Arc::clone(&live.control))
            .collect()
    }

    pub(crate) fn watch(&self, waiter: u64, live: LiveSubscription) {
        lock(&self.inner.subscriptions).insert(waiter, live);
    }

    pub(crate) fn unwatch(&self, waiter: u64) {
        lock(&self.inner.subscriptions).remove(&waiter);
    }

    /// The current epoch. Iterators of earlier epochs are expired.
    pub(crate) fn iterator_epoch(&self) -> u32 {
        self.inner.iterator_epoch.load(Ordering::Acquire)
    }

    /// The effects of the rules on a call; counts the call.
    pub(crate) fn decide(&self, subject: &Subject<'_>) -> Effects {
        let mut effects = Effects::default();
        if !self.inner.has_rules.load(Ordering::Acquire) {
            return effects;
        }

        let mut rules = lock(&self.inner.rules);
        for status in &mut rules.rules {
            if !selects(&status.rule.select, subject) {
                continue;
            }

            status.selected += 1;
            if let Some(action) = self.action(status).filter(|a| **a != Action::Pass) {
                effects.add(action, &status.rule.select);
                status.applied += 1;
            }
        }
        effects
    }

    /// The action of a rule for the call that the rule has selected last.
    fn action<'a>(&self, status: &'a RuleStatus) -> Option<&'a Action> {
        let rule = &status.rule;
        if !rule.script.is_empty() {
            let step = usize::try_from(status.selected - 1).ok()?;
            return rule.script.get(step);
        }

        let is_used_up = rule.times.is_some_and(|times| status.applied >= times);
        (!is_used_up && self.chance(rule.probability)).then_some(&rule.action)
    }

    fn chance(&self, probability: f64) -> bool {
        // A certain result draws no random number, so that such a rule does not change the results
        // of other rules.
        probability >= 1.0 || (probability > 0.0 && lock(&self.inner.rng).random_bool(probability))
    }

    /// The failure of one entry of a write, if any. `place` counts from 0.
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
                key: wanted_key,
            } = &failed.entries;
            let is_selected = failed.shard.as_deref().is_none_or(|s| s == shard)
                && places.as_ref().is_none_or(|p| p.contains(&place))
                && wanted_key.as_deref().is_none_or(|w| Some(w) == key)
                && self.chance(probability.unwrap_or(1.0));
            is_selected.then_some(failed.fault)
        })
    }

    /// Completes at the next release of a gate.
    pub(crate) fn wait_at(&self, gate: &str, waiter: u64) -> GateWait {
        let mut rules = lock(&self.inner.rules);
        let released = rules.gates.entry(gate.to_owned()).or_default().released;
        GateWait {
            faults: self.clone(),
            gate: gate.to_owned(),
            waiter,
            released,
        }
    }
}

fn selects(select: &Select, subject: &Subject<'_>) -> bool {
    let operations = &select.operations;
    let matches_operation =
        operations.is_empty() || operations.iter().any(|o| o.0 == subject.operation);

    matches_operation
        && matches(select.stream.as_deref(), subject.stream)
        && matches(select.region.as_deref(), Some(subject.region))
        && matches(select.consumer.as_deref(), subject.consumer)
        && matches_shard(select.shard.as_deref(), subject.shard)
}

fn matches_shard(selected: Option<&str>, shards: Shards<'_>) -> bool {
    let Some(selected) = selected else {
        return true;
    };
    match shards {
        Shards::None => false,
        Shards::One(id) => selected == id,
        Shards::Touched(touches) => touches(selected),
    }
}

impl Effects {
    fn add(&mut self, action: &Action, select: &Select) {
        match action {
            Action::Pass => {}
            Action::ThrottleEntries(entries) => {
                self.fail_entries(entries, select, EntryFault::Throttled);
            }
            Action::FailEntries(entries) => self.fail_entries(entries, select, EntryFault::Failed),
            Action::Error {
                code,
                message,
                status,
            } => {
                self.error = Some(rule::error_of(code, message, *status));
            }
            Action::ExpireToken => self.error = Some(errors::expired_token()),
            Action::Delay { ms, after } => self.wait(*after, Wait::Millis(*ms)),
            Action::Hold { gate, after } => self.wait(*after, Wait::Gate(gate.clone())),
            Action::CutAnswer { after_bytes } => self.delivery = Delivery::Cut(*after_bytes),
            Action::LoseReply { hang: false } => self.delivery = Delivery::Broken,
            Action::LoseReply { hang: true } => self.delivery = Delivery::Silent,
            Action::Late { ms } => self.late_ms = Some(*ms),
            Action::DropConnection => self.drops_connection = true,
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

    fn fail_entries(&mut self, entries: &Entries, select: &Select, fault: EntryFault) {
        self.entries.push(FailedEntries {
            entries: entries.clone(),
            shard: select.shard.clone(),
            fault,
        });
    }

    fn wait(&mut self, after: bool, wait: Wait) {
        let waits = if after {
            &mut self.after
        } else {
            &mut self.before
        };
        waits.push(wait);
    }
}

/// Completes when a gate is released.
#[derive(Debug)]
pub(crate) struct GateWait {
    faults: Faults,
    gate: String,
    waiter: u64,
    /// Releases of the gate when the wait started.
    released: u64,
}

impl Future for GateWait {
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

impl Drop for GateWait {
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
                (effects.drops_connection, effects.delivery)
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
                .map(|_| {
                    faults
                        .decide(&subject(Operation::PutRecord, "a"))
                        .drops_connection
                })
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
            shard: Shards::Touched(&touches),
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
