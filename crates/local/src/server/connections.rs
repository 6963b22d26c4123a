//! Limits of a server's connections, so that clients that send nothing, half of a request, or read
//! no answer hold no place for ever, and a new client always finds one.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::env::{Env, Sleep};
use crate::local::lock;

/// The limits of a server's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time. One more closes the connection that was still for the longest time,
    /// one without a request in service first.
    pub connections: usize,
    /// Time for the TLS handshake, and again for the head of a request.
    pub head: Duration,
    /// Time for the body of a request.
    pub body: Duration,
    /// Time that a connection without a request in service may be still.
    pub idle: Duration,
    /// Time in which a client has to take some bytes of an answer.
    pub write: Duration,
    /// Bytes of all request bodies together; a body that finds no room in a quarter of its time is
    /// refused.
    pub body_bytes: usize,
}

impl Default for Limits {
    /// 1,024 connections, 256 MiB of bodies; heads in 30 s, bodies in 60 s; still for a minute.
    fn default() -> Self {
        Self {
            connections: 1024,
            head: Duration::from_secs(30),
            body: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            write: Duration::from_secs(60),
            body_bytes: 256 * 1024 * 1024,
        }
    }
}

/// The open connections of a server.
pub struct Connections {
    env: Arc<dyn Env>,
    limits: Limits,
    /// Counts the bytes' moves of all connections, which puts the connections in an order.
    moves: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    all: BTreeMap<u64, Arc<Activity>>,
}

/// The state of one connection.
#[derive(Default)]
struct Activity {
    /// Requests that are received whole and not answered.
    in_service: AtomicUsize,
    /// The number of the last move of bytes.
    moved: AtomicU64,
    evicted: Notify,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connections({:?})", self.limits)
    }
}

impl Connections {
    /// No connection yet.
    pub fn new(env: Arc<dyn Env>, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            env,
            limits,
            moves: AtomicU64::new(0),
            open: Mutex::default(),
        })
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A place for a new connection. Never refused: another connection is closed if there are too
    /// many.
    pub fn admit(self: &Arc<Self>) -> Place {
        let activity = Arc::new(Activity::default());
        self.touch(&activity);

        let mut open = lock(&self.open);
        if open.all.len() >= self.limits.connections {
            open.evict();
        }
        let id = open.next;
        open.next += 1;
        open.all.insert(id, Arc::clone(&activity));
        drop(open);

        Place {
            connections: Arc::clone(self),
            id,
            activity,
        }
    }

    fn touch(&self, activity: &Activity) {
        let now = self.moves.fetch_add(1, Ordering::Relaxed);
        activity.moved.store(now, Ordering::Relaxed);
    }
}

impl Open {
    /// Closes the connection that was still for the longest time.
    fn evict(&mut self) {
        let order = |(_, activity): &(&u64, &Arc<Activity>)| {
            let is_in_service = activity.in_service.load(Ordering::Relaxed) > 0;
            (is_in_service, activity.moved.load(Ordering::Relaxed))
        };
        let stillest = self.all.iter().min_by_key(order).map(|(id, _)| *id);

        // Removed here, so that the next call finds another one.
        if let Some(activity) = stillest.and_then(|id| self.all.remove(&id)) {
            activity.evicted.notify_one();
        }
    }
}

/// The place of one connection, given back when dropped.
pub struct Place {
    connections: Arc<Connections>,
    id: u64,
    activity: Arc<Activity>,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.connections.open).all.remove(&self.id);
    }
}

impl Place {
    /// Serves a connection by `work`, until another connection needs the place.
    pub async fn hold<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.activity.evicted.notified() => None,
        }
    }

    /// `socket`, with an error of kind `TimedOut` where the client is still for too long.
    pub fn watch<S>(&self, socket: S) -> Watched<S> {
        Watched {
            socket,
            connections: Arc::clone(&self.connections),
            activity: Arc::clone(&self.activity),
            reading: None,
            writing: None,
        }
    }

    /// Notes a request in service, until the result is dropped.
    pub fn serve(&self) -> InService {
        self.activity.in_service.fetch_add(1, Ordering::Relaxed);
        InService(Arc::clone(&self.activity))
    }
}

/// A request in service: the connection is not idle.
pub struct InService(Arc<Activity>);

impl Drop for InService {
    fn drop(&mut self) {
        self.0.in_service.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket that fails where the client is still for too long.
pub struct Watched<S> {
    socket: S,
    connections: Arc<Connections>,
    activity: Arc<Activity>,
    /// Present while a read waits.
    reading: Option<Stillness>,
    /// Present while a write waits.
    writing: Option<Sleep>,
}

/// The time for which a connection may be still.
struct Stillness {
    timer: Sleep,
    /// The number of the last move of bytes at the start.
    moved: u64,
}

impl<S> Watched<S> {
    /// An error once a write has waited for too long.
    fn writes_too_long<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let longest = self.connections.limits.write;
        let env = &self.connections.env;
        let timer = self.writing.get_or_insert_with(|| env.sleep(longest));
        timer.as_mut().poll(cx).map(|()| Err(too_long()))
    }

    /// An error once the connection was still for too long, without a request in service.
    ///
    /// The timer runs on during writes and requests: at their end nothing polls a read that waits.
    fn reads_too_long<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        loop {
            let moved = self.activity.moved.load(Ordering::Relaxed);
            let (env, longest) = (&self.connections.env, self.connections.limits.idle);
            let stillness = self.reading.get_or_insert_with(|| Stillness {
                timer: env.sleep(longest),
                moved,
            });
            if stillness.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }

            let is_in_service = self.activity.in_service.load(Ordering::Relaxed) > 0;
            if !is_in_service && stillness.moved == moved {
                return Poll::Ready(Err(too_long()));
            }
            self.reading = None;
        }
    }

    fn written(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(written) => {
                self.connections.touch(&self.activity);
                self.writing = None;
                Poll::Ready(written)
            }
            Poll::Pending => self.writes_too_long(cx),
        }
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client is still for too long")
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.socket).poll_read(cx, buf) {
            Poll::Ready(read) => {
                self.connections.touch(&self.activity);
                self.reading = None;
                Poll::Ready(read)
            }
            Poll::Pending => self.reads_too_long(cx),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Pending => self.writes_too_long(cx),
            done => done,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.socket).poll_shutdown(cx) {
            Poll::Pending => self.writes_too_long(cx),
            done => done,
        }
    }
}
