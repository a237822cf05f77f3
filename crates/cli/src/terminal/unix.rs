//! The terminal of a Unix system.

use std::io::{stderr, stdin, stdout};

use anyhow::{Context, Result};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Columns and rows of the terminal, if there is one.
pub(crate) fn window() -> Option<(u16, u16)> {
    let size = tcgetwinsize(stdout()).or_else(|_| tcgetwinsize(stdin())).or_else(|_| tcgetwinsize(stderr())).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// A terminal that passes every key on as it is. Dropping it gives the terminal back its settings.
#[derive(Debug)]
pub(crate) struct Raw {
    _before: Settings,
}

impl Raw {
    pub(crate) fn enter() -> Result<Self> {
        Ok(Self { _before: Settings::change(Termios::make_raw)? })
    }
}

/// The settings that a terminal had, and gets back.
#[derive(Debug)]
struct Settings(Termios);

impl Settings {
    fn change(change: impl FnOnce(&mut Termios)) -> Result<Self> {
        let before = tcgetattr(stdin()).context("read the settings of the terminal")?;
        let mut changed = before.clone();
        change(&mut changed);
        tcsetattr(stdin(), OptionalActions::Drain, &changed).context("change the settings of the terminal")?;
        Ok(Self(before))
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.0);
    }
}

/// A terminal that does not show what is typed. Dropping it gives the terminal back its settings.
#[derive(Debug)]
pub(crate) struct Hidden {
    _before: Settings,
}

impl Hidden {
    pub(crate) fn enter() -> Result<Self> {
        let before = Settings::change(|settings| settings.local_modes.remove(LocalModes::ECHO))?;
        Ok(Self { _before: before })
    }
}

/// Changes of the terminal's size.
#[derive(Debug)]
pub(crate) struct Resizes(Signal);

impl Resizes {
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self(signal(SignalKind::window_change()).context("listen to changes of the terminal's size")?))
    }

    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// Signals by which somebody ends this program.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("listen to signals");
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hang_up: listen(SignalKind::hangup())? })
    }

    /// The exit code that belongs to the next one: 128 and its number.
    pub(crate) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
            _ = self.hang_up.recv() => 129,
        }
    }
}
