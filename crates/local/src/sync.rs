//! The lock of a shard's log. The model test of the log replaces this module by one whose locks try
//! every order of threads.

pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};
