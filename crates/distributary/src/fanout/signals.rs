//! Signals: the first SIGINT or SIGTERM asks for an end, the second is one; SIGHUP asks to read the configuration again.

use std::io;

use distributary_core::clock::Clock;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::screen;

/// The signals that a fan-out listens to.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// What asked for an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Stop {
    /// The exit code of a process that this signal ended: 128 and its number.
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
    /// From now on signals do not end the process by themselves.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Completes with the next signal that asks for an end.
    pub(super) async fn stop(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }

    /// `work`, or the end of the process with the next signal.
    pub(super) async fn or_exit<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            stop = self.stop() => {
                screen::clear();
                eprintln!("distributary: {} again: ended before all was written down; what is missing is sent again next time", stop.name());
                std::process::exit(i32::from(stop.code()));
            }
        }
    }
}

/// SIGHUP.
pub(super) struct Hangups(Signal);

impl Hangups {
    /// From now on SIGHUP does not end the process.
    pub(super) fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Completes with the next one, or after a while.
    pub(super) async fn next_or_after(&mut self, clock: &Clock, wait: std::time::Duration) -> bool {
        tokio::select! {
            _ = self.0.recv() => true,
            () = clock.sleep(wait) => false,
        }
    }
}
