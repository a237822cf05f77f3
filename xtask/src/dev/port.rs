//! The port to listen on.

use crate::paths;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::ErrorKind;
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
    wanted.map_or(Ok(()), |number| match free(number) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("port {number} is in use; name another with --port, or leave --port out to have a free one chosen")
        }
        Err(error) => Err(error).with_context(|| format!("listen on port {number}; name another with --port")),
    })
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
    fn a_port_that_is_in_use_is_refused_with_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = taken.local_addr().unwrap().port();
        let error = choose(Some(number)).err().unwrap().to_string();
        assert!(error.contains("is in use; name another with --port"), "{error}");
        assert_ne!(free(0).unwrap(), number);
    }
}
