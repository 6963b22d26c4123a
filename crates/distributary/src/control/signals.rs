//! Signals: the first SIGINT or SIGTERM stops the fan-out in good order, the second at once. SIGHUP
//! reads the configuration again.

use std::io;
use std::time::Duration;

use distributary_core::clock::Clock;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::screen;

/// The signals that a fan-out listens to.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// The signal that asks the fan-out to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Stop {
    /// The exit code of a process that this signal ended: 128 plus the number of the signal.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

impl Signals {
    /// From this call on, the signals do not end the process by themselves.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Completes with the next SIGINT or SIGTERM.
    pub(super) async fn stop(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }

    /// Completes with `work`. The next signal ends the process.
    pub(super) async fn or_exit<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            stop = self.stop() => {
                screen::clear();
                screen::say(&format!(
                    "distributary: {} again: stopped before all progress was saved; some records \
                     are sent again at the next start",
                    stop.name()
                ));
                screen::finish();
                std::process::exit(i32::from(stop.code()));
            }
        }
    }
}

/// SIGHUP.
pub(super) struct Hangups(Signal);

impl Hangups {
    /// From this call on, SIGHUP does not end the process.
    pub(super) fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Completes with true at the next SIGHUP, or with false after `wait`.
    pub(super) async fn next_or_after(&mut self, clock: &Clock, wait: Duration) -> bool {
        tokio::select! {
            _ = self.0.recv() => true,
            () = clock.sleep(wait) => false,
        }
    }
}
