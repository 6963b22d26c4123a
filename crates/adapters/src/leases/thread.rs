//! A thread of its own for the state, so that other work that blocks never keeps progress from the
//! disk.

use std::io;
use std::sync::mpsc;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// The thread; ends when dropped and without jobs.
pub(super) struct StateThread {
    jobs: mpsc::Sender<Job>,
}

impl StateThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no more threads.
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new().name("state".to_owned());
        thread.spawn(move || queue.into_iter().for_each(|job| job()))?;
        Ok(Self { jobs })
    }

    /// Runs `work` after all work before. `None` after a panic of earlier work.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (send, done) = oneshot::channel();
        let job: Job = Box::new(move || {
            let result = work();
            // The caller may have given up.
            let _ = send.send(result);
        });

        self.jobs.send(job).ok()?;
        done.await.ok()
    }
}
