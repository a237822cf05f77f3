//! The port to listen on.

use crate::paths;
use anyhow::{Context, Result};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};

/// wrangler's own default.
const DEFAULT: u16 = 8787;

/// A port of 127.0.0.1, kept from other runs of this program while the value lives.
pub(crate) struct Port {
    pub(crate) number: u16,
    _claim: Option<File>,
}

/// Fails when a port that was asked for cannot be had: better now than after minutes of building.
pub(crate) fn check(wanted: Option<u16>) -> Result<()> {
    wanted.map_or(Ok(()), |number| free(number).map(drop).with_context(|| format!("port {number} cannot be listened on")))
}

/// The port asked for, which must be free; else the default one; else a free one.
pub(crate) fn choose(wanted: Option<u16>) -> Result<Port> {
    check(wanted)?;
    if let Some(number) = wanted {
        return Ok(Port { number, _claim: None });
    }
    // Between this look and wrangler's own there are seconds: a lock keeps two runs from choosing alike.
    let claim = File::create(paths::cache()?.join(format!("port-{DEFAULT}.lock"))).context("create the port's lock")?;
    if claim.try_lock().is_ok() && free(DEFAULT).is_ok() {
        return Ok(Port { number: DEFAULT, _claim: Some(claim) });
    }
    Ok(Port { number: free(0).context("find a free port")?, _claim: None })
}

/// The port's number, when it can be listened on.
fn free(number: u16) -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, number))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::{choose, free};
    use std::net::TcpListener;

    #[test]
    fn a_taken_port_that_was_asked_for_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = taken.local_addr().unwrap().port();
        assert!(choose(Some(number)).is_err());
        assert_ne!(free(0).unwrap(), number);
    }
}
