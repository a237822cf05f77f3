//! The signals by which a user or a supervisor asks for the end.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the end was asked for.
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
}

/// The error of work given up because the end was asked for.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl Interrupt {
    /// From now on Ctrl-C, SIGTERM and SIGHUP are noted; the second of them ends this program at once (its guard does the rest).
    pub(crate) fn listen() -> Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register_conditional_default(signal, Arc::clone(&asked)).context("listen for signals")?;
            flag::register(signal, Arc::clone(&asked)).context("listen for signals")?;
        }
        Ok(Self { asked })
    }

    /// Never asks: signals keep their usual effect on this program.
    pub(crate) fn never() -> Self {
        Self { asked: Arc::default() }
    }

    /// Fails with [`Interrupted`] once the end was asked for.
    pub(crate) fn check(&self) -> Result<()> {
        if self.asked.load(Ordering::Relaxed) { Err(Interrupted.into()) } else { Ok(()) }
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}
