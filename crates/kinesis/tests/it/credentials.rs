//! Credentials of AWS's own sources: kept, renewed, and asked for no more often than needed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError as ProviderError;
use aws_credential_types::provider::future::ProvideCredentials as Providing;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use distributary_core::clock::Clock;
use distributary_core::testing::{EPOCH, TestClock};
use distributary_kinesis::credentials::{
    CredentialsError, CredentialsSource, MakeProvider, Origins, Provided,
};

/// Stands in for AWS's own sources of credentials.
#[derive(Clone, Debug, Default)]
struct Source {
    /// Taken from the end; the last one again and again.
    list: Arc<Mutex<Vec<Keys>>>,
    asked: Arc<AtomicUsize>,
}

impl ProvideCredentials for Source {
    fn provide_credentials<'a>(&'a self) -> Providing<'a>
    where
        Self: 'a,
    {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut list = self.list.lock().unwrap();
        let next = match list.len() {
            0 => Err(ProviderError::not_loaded("none")),
            1 => Ok(list[0].clone()),
            _ => Ok(list.pop().unwrap()),
        };
        Providing::ready(next)
    }
}

impl Source {
    fn of(list: impl IntoIterator<Item = Keys>) -> Self {
        let mut list: Vec<Keys> = list.into_iter().collect();
        list.reverse();
        Self {
            list: Arc::new(Mutex::new(list)),
            ..Self::default()
        }
    }

    fn provided(&self, clock: &Clock) -> Provided {
        let source = self.clone();
        let make: MakeProvider = Box::new(move || {
            let source = source.clone();
            Box::pin(async move { Some(SharedCredentialsProvider::new(source)) })
        });
        Provided::new(make, Origins::default(), clock.clone())
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A key that expires after `seconds` from the start of the test.
fn key(id: &str, seconds: Option<i64>) -> Keys {
    let wall = EPOCH.0;
    let until = seconds.map(|seconds| {
        let at = u64::try_from(wall + seconds * 1000).unwrap();
        std::time::UNIX_EPOCH + Duration::from_millis(at)
    });
    Keys::new(id, "s", None, until, "test")
}

#[tokio::test(start_paused = true)]
async fn provided_credentials_are_kept_and_renewed() {
    let clock = TestClock::new(1).clock();
    let source = Source::of([
        key("a", Some(60)),
        key("b", Some(3600)),
        key("c", Some(60)),
        key("d", None),
    ]);
    let provided = source.provided(&clock);
    let first = provided.get().await.unwrap();
    assert_eq!(first.access_key_id, "a");
    // The key is valid for another minute, so no call waits; meanwhile the key is renewed.
    assert_eq!(provided.get().await.unwrap().access_key_id, "a");
    while provided.get().await.unwrap().access_key_id == "a" {
        tokio::task::yield_now().await;
    }
    assert_eq!(provided.get().await.unwrap().access_key_id, "b");
    // Credentials that a server refused are fetched again, unless that was done already.
    assert_eq!(provided.renew(&first).await.unwrap().access_key_id, "b");
    let b = provided.get().await.unwrap();
    assert_eq!(provided.renew(&b).await.unwrap().access_key_id, "c");
    let c = provided.renew(&b).await.unwrap();
    assert_eq!(provided.renew(&c).await.unwrap().access_key_id, "d");

    source.list.lock().unwrap().clear();
    let d = provided.get().await.unwrap();
    assert!(matches!(
        provided.renew(&d).await,
        Err(CredentialsError::None)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_gives_the_same_keys_again_is_not_asked_with_each_request() {
    let clock = TestClock::new(1).clock();
    let source = Source::of([key("a", Some(60))]);
    let provided = source.provided(&clock);
    for _ in 0..200 {
        provided.get().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(source.asked(), 2);

    // A refusal asks at once, and then once in ten seconds.
    let source = Source::of([key("a", None)]);
    let provided = source.provided(&clock);
    let stale = provided.get().await.unwrap();
    for _ in 0..200 {
        assert_eq!(provided.renew(&stale).await.unwrap(), stale);
    }
    assert_eq!(source.asked(), 2);

    source.list.lock().unwrap().insert(0, key("b", None));
    source.list.lock().unwrap().pop();
    clock.sleep(Duration::from_secs(10)).await;
    assert_eq!(provided.renew(&stale).await.unwrap().access_key_id, "b");
}

#[tokio::test(start_paused = true)]
async fn a_source_without_keys_is_asked_once_in_ten_seconds() {
    let clock = TestClock::new(1).clock();
    let source = Source::default();
    let provided = source.provided(&clock);
    for _ in 0..200 {
        assert!(matches!(provided.get().await, Err(CredentialsError::None)));
    }
    assert_eq!(source.asked(), 1);

    source.list.lock().unwrap().push(key("a", None));
    clock.sleep(Duration::from_secs(10)).await;
    assert_eq!(provided.get().await.unwrap().access_key_id, "a");
}
