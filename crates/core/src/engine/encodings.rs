//! The part of the memory budget for encodings of single lanes: a form that one lane alone sends,
//! a retry, a start in the middle of a chunk.
//!
//! Each output has an account with an equal share, so that requests that hang at one output take no
//! memory from another: within the shares, no output waits for another one. Requests of one output
//! are served in the order of asking. One request that is larger than the share (a single record of
//! the maximum size) waits until the output has no other one, and until the pool has room.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use tokio::sync::oneshot;

use crate::store::OutputId;

use super::budget::{Budget, Permit, Reservation};
use super::mutation::{Mutation, on};

/// Names an account of one budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccountId(u64);

/// The account of one output. Closed when dropped; permits may outlive the account.
pub(crate) struct Account {
    budget: Arc<Budget>,
    id: AccountId,
}

impl Account {
    /// Opens an account: the shares of the others shrink.
    pub(crate) fn open(budget: &Arc<Budget>) -> Arc<Self> {
        let id = budget.with_encodings(Encodings::open);
        Arc::new(Self {
            budget: Arc::clone(budget),
            id,
        })
    }

    /// Asks for `bytes`.
    pub(crate) fn reserve(&self, bytes: usize) -> Reservation {
        self.budget.reserve_encoding(self.id, bytes)
    }

    /// Bytes that the output may always take, whatever the others do.
    pub(crate) fn share(&self) -> usize {
        self.budget.with_encodings(|pool| pool.share())
    }
}

/// The open accounts of an engine's outputs.
#[derive(Default)]
pub(crate) struct Accounts(BTreeMap<OutputId, Weak<Account>>);

impl Accounts {
    /// The account of `output`, opened for the first of its lanes.
    pub(crate) fn of(&mut self, output: &OutputId, budget: &Arc<Budget>) -> Arc<Account> {
        if let Some(account) = self.0.get(output).and_then(Weak::upgrade) {
            return account;
        }

        self.0.retain(|_, account| account.strong_count() > 0);
        let account = Account::open(budget);
        self.0.insert(output.clone(), Arc::downgrade(&account));
        account
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.budget.with_encodings(|pool| pool.close(self.id));
    }
}

/// A request of an account that waits.
struct Waiting {
    /// Requests are numbered in the order of asking.
    ticket: u64,
    bytes: usize,
    sender: oneshot::Sender<Permit>,
}

#[derive(Default)]
struct AccountState {
    used: usize,
    waiting: VecDeque<Waiting>,
    closed: bool,
}

impl AccountState {
    /// True if `bytes` are within the share, or if the output has no other request.
    fn admits(&self, bytes: usize, share: usize) -> bool {
        self.used == 0 || self.used.saturating_add(bytes) <= share
    }

    fn is_over(&self) -> bool {
        self.closed && self.used == 0 && self.waiting.is_empty()
    }
}

/// The pool and its accounts.
#[derive(Default)]
pub(super) struct Encodings {
    size: usize,
    used: usize,
    accounts: BTreeMap<AccountId, AccountState>,
    next_account: u64,
    next_ticket: u64,
}

impl Encodings {
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            ..Self::default()
        }
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    fn open(&mut self) -> AccountId {
        let id = AccountId(self.next_account);
        self.next_account += 1;
        self.accounts.insert(id, AccountState::default());
        id
    }

    fn close(&mut self, id: AccountId) {
        if let Some(account) = self.accounts.get_mut(&id) {
            account.closed = true;
        }
        self.forget_if_over(id);
    }

    fn forget_if_over(&mut self, id: AccountId) {
        if self.accounts.get(&id).is_some_and(AccountState::is_over) {
            self.accounts.remove(&id);
        }
    }

    fn share(&self) -> usize {
        let open = self.accounts.values().filter(|account| !account.closed);
        self.size / open.count().max(1)
    }

    pub(super) fn queue(&mut self, id: AccountId, bytes: usize, sender: oneshot::Sender<Permit>) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let account = self.accounts.entry(id).or_default();
        account.waiting.push_back(Waiting {
            ticket,
            bytes,
            sender,
        });
    }

    /// The next request that may be served, counted as used already.
    pub(super) fn admit(&mut self) -> Option<(AccountId, usize, oneshot::Sender<Permit>)> {
        self.forget_given_up();
        let (id, bytes) = self.next_request()?;
        // A large request at the front is not overtaken, or would wait for ever.
        if !self.fits(bytes) {
            return None;
        }

        let account = self.accounts.get_mut(&id)?;
        let waiting = account.waiting.pop_front()?;
        self.take(id, bytes);
        Some((id, bytes, waiting.sender))
    }

    /// The oldest request that its account admits.
    fn next_request(&self) -> Option<(AccountId, usize)> {
        let share = self.share();
        let mut oldest = None;
        let mut request = None;
        for (id, account) in &self.accounts {
            let Some(first) = account.waiting.front() else {
                continue;
            };
            let is_older = oldest.is_none_or(|ticket| first.ticket < ticket);
            if is_older && account.admits(first.bytes, share) {
                oldest = Some(first.ticket);
                request = Some((*id, first.bytes));
            }
        }
        request
    }

    /// Drops requests at the front that were given up.
    fn forget_given_up(&mut self) {
        for account in self.accounts.values_mut() {
            let given_up = |waiting: &Waiting| waiting.sender.is_closed();
            while account.waiting.front().is_some_and(given_up) {
                account.waiting.pop_front();
            }
        }
    }

    fn fits(&self, bytes: usize) -> bool {
        let fits = self.used == 0 || self.used.saturating_add(bytes) <= self.size;
        fits || on(Mutation::BudgetIgnored)
    }

    fn take(&mut self, id: AccountId, bytes: usize) {
        self.used += bytes;
        self.accounts.entry(id).or_default().used += bytes;
    }

    /// Gives `bytes` back.
    pub(super) fn release(&mut self, id: AccountId, bytes: usize) {
        self.used -= bytes;
        if let Some(account) = self.accounts.get_mut(&id) {
            account.used -= bytes;
        }
        self.forget_if_over(id);
    }

    /// Changes `before` bytes to `after`, if that is less, or if there is room for more.
    pub(super) fn resize(&mut self, id: AccountId, before: usize, after: usize) -> bool {
        let others = self.used - before;
        if after > before && others > 0 && others.saturating_add(after) > self.size {
            return false;
        }

        self.used = others + after;
        if let Some(account) = self.accounts.get_mut(&id) {
            account.used = account.used - before + after;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn now<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut future).poll(&mut context) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn accounts<const N: usize>(size: usize) -> (Arc<Budget>, [Arc<Account>; N]) {
        let budget = Budget::for_encodings(size);
        let accounts = std::array::from_fn(|_| Account::open(&budget));
        (budget, accounts)
    }

    #[test]
    fn an_output_that_hangs_takes_no_memory_from_another() {
        let (_, [hangs, well]) = accounts(100);
        let held: Vec<_> = (0..5).filter_map(|_| now(hangs.reserve(10))).collect();
        assert_eq!(held.len(), 5);
        assert!(now(hangs.reserve(10)).is_none(), "beyond the share");

        for _ in 0..3 {
            let held: Vec<_> = (0..5).filter_map(|_| now(well.reserve(10))).collect();
            assert_eq!(held.len(), 5);
        }
    }

    #[test]
    fn requests_of_one_output_are_served_in_the_order_of_asking() {
        let (_, [one]) = accounts(100);
        let held = now(one.reserve(90)).unwrap();
        let mut second = one.reserve(60);
        let mut third = one.reserve(5);
        assert!(now(&mut second).is_none());
        assert!(now(&mut third).is_none(), "no overtaking");

        drop(held);
        assert!(now(&mut second).is_some());
        assert!(now(&mut third).is_some());
    }

    #[test]
    fn a_request_beyond_the_share_waits_until_there_is_room_in_the_pool() {
        let (budget, [large, other]) = accounts(100);
        let held = now(other.reserve(40)).unwrap();
        let mut beyond = large.reserve(70);
        assert!(now(&mut beyond).is_none());

        drop(held);
        assert_eq!(now(&mut beyond).unwrap().bytes(), 70);
        let mut alone = large.reserve(1000);
        assert_eq!(now(&mut alone).unwrap().bytes(), 1000);
        assert_eq!(budget.status().used, 0);
    }

    #[test]
    fn a_request_that_was_given_up_holds_no_other_back() {
        let (budget, [one]) = accounts(100);
        let held = now(one.reserve(100)).unwrap();
        let given_up = one.reserve(100);
        let mut next = one.reserve(50);
        drop(given_up);
        drop(held);
        assert!(now(&mut next).is_some());

        let unseen = one.reserve(50);
        drop(unseen);
        assert_eq!(budget.status().used, 0);
    }

    #[test]
    fn a_closed_account_leaves_its_share_to_the_others() {
        let (budget, [closed, open]) = accounts(100);
        assert_eq!(open.share(), 50);
        let held = now(closed.reserve(30)).unwrap();
        drop(closed);
        assert_eq!(open.share(), 100);

        drop(held);
        assert_eq!(budget.status().used, 0);
        assert_eq!(budget.with_encodings(|pool| pool.accounts.len()), 1);
    }

    #[test]
    fn an_encoding_that_is_smaller_than_expected_gives_memory_back() {
        let (_, [one]) = accounts(100);
        let mut permit = now(one.reserve(90)).unwrap();
        let mut next = one.reserve(60);
        assert!(now(&mut next).is_none());

        assert!(permit.resize(40));
        assert!(now(&mut next).is_some());
    }
}
