//! Name lookups, bounded: a lookup blocks a thread for as long as the system likes, up to minutes.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use distributary_core::sync::lock;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::{Semaphore, watch};
use tower_service::Service;

/// Lookups that run together, of 512 threads that may block.
const LOOKUPS: usize = 32;

/// The addresses of a host, or the system's reason why there are none.
type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// The lookup of a name by the system; blocks.
pub(super) type Look = fn(&str) -> io::Result<Vec<SocketAddr>>;

/// Looks names up, each on one thread however many connections wait for the name.
#[derive(Clone)]
pub(super) struct Lookups(Arc<Shared>);

struct Shared {
    look: Look,
    room: Semaphore,
    running: Mutex<BTreeMap<String, watch::Receiver<Option<Found>>>>,
}

/// The reason why a name has no address.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAddress {
    #[error("the name {name} cannot be looked up")]
    System {
        name: String,
        #[source]
        source: Arc<io::Error>,
    },
    #[error("the lookup of the name {name} was given up")]
    GivenUp { name: String },
}

impl Lookups {
    /// Lookups by the system.
    pub(super) fn of_system() -> Self {
        // The port is the connector's.
        Self::by(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }

    pub(super) fn by(look: Look) -> Self {
        Self(Arc::new(Shared {
            look,
            room: Semaphore::new(LOOKUPS),
            running: Mutex::default(),
        }))
    }

    async fn addresses(self, name: String) -> Result<Vec<SocketAddr>, NoAddress> {
        let mut found = self.start(&name);
        let done = found.wait_for(Option::is_some).await;
        let found = done.ok();
        let found = found.and_then(|found| found.clone());
        match found {
            Some(Ok(addresses)) => Ok(addresses),
            Some(Err(source)) => Err(NoAddress::System { name, source }),
            None => Err(NoAddress::GivenUp { name }),
        }
    }

    /// Joins the lookup of `name` that runs, or starts one. A lookup runs to its end even if nobody
    /// waits any more, so that no name ever has two threads.
    fn start(&self, name: &str) -> watch::Receiver<Option<Found>> {
        let mut running = lock(&self.0.running);
        if let Some(found) = running.get(name) {
            return found.clone();
        }

        let (send, found) = watch::channel(None);
        running.insert(name.to_owned(), found.clone());
        let shared = Arc::clone(&self.0);
        let name = name.to_owned();
        tokio::spawn(async move {
            let addresses = shared.look(&name).await;
            let mut running = lock(&shared.running);
            running.remove(&name);
            send.send_replace(addresses);
        });
        found
    }
}

impl Shared {
    /// Looks `name` up once there is room. `None` while the runtime goes down.
    async fn look(&self, name: &str) -> Option<Found> {
        let _room = self.room.acquire().await.ok()?;
        let look = self.look;
        let name = name.to_owned();
        let looking = tokio::task::spawn_blocking(move || look(&name));
        let looked = looking.await.ok()?;
        Some(looked.map_err(Arc::new))
    }
}

impl Service<Name> for Lookups {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NoAddress;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NoAddress>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoAddress>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let lookups = self.clone();
        let looking = lookups.addresses(name.as_str().to_owned());
        Box::pin(async move { looking.await.map(Vec::into_iter) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    static STARTED: AtomicUsize = AtomicUsize::new(0);
    static HELD: Mutex<Vec<mpsc::Sender<()>>> = Mutex::new(Vec::new());

    /// Blocks for names that start with `slow`, until the test ends.
    fn look(name: &str) -> io::Result<Vec<SocketAddr>> {
        if name.starts_with("slow") {
            let (send, held) = mpsc::channel();
            lock(&HELD).push(send);
            STARTED.fetch_add(1, Ordering::SeqCst);
            let _ = held.recv();
        }
        match name {
            "none" => Err(io::Error::other("no such host")),
            _ => Ok(vec![([127, 0, 0, 1], 0).into()]),
        }
    }

    #[tokio::test]
    async fn slow_names_take_few_threads_and_one_each() {
        let lookups = Lookups::by(look);
        // A caller that gave up leaves the lookup to the next one.
        for _ in 0..100 {
            drop(lookups.start("slow"));
        }
        let found = lookups.clone().addresses("quick".to_owned()).await.unwrap();
        assert_eq!(found, [([127, 0, 0, 1], 0).into()]);
        assert_eq!(STARTED.load(Ordering::SeqCst), 1);
        let error = lookups
            .clone()
            .addresses("none".to_owned())
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "the name none cannot be looked up");

        for n in 0..100 {
            drop(lookups.start(&format!("slow{n}")));
        }
        while STARTED.load(Ordering::SeqCst) < LOOKUPS {
            tokio::task::yield_now().await;
        }
        // The pool of threads still takes other work, such as the state's.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        assert_eq!(STARTED.load(Ordering::SeqCst), LOOKUPS);
        lock(&HELD).clear();
    }
}
