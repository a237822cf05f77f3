//! A port that may be reached from outside. Pure.

use std::{fmt, str::FromStr};

use cabana_protocol::{Error, names::invalid_field, port::RESERVED_PORTS};
use serde::{Deserialize, Serialize};

use crate::container::AGENT_PORT;

/// A TCP port of a sandbox: 1 to 65535, without 49983 (the agent, which answers only the Durable Object) and 49984 to 49992 (reserved).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Port(u16);

impl Port {
    /// Its number.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Port {
    type Error = Error;

    fn try_from(number: u16) -> Result<Self, Error> {
        match number {
            0 => Err(invalid_field("port", "a whole number from 1 to 65535, got 0")),
            AGENT_PORT => Err(invalid_field("port", &format!("any port but {AGENT_PORT}, which is the agent's own"))),
            number if RESERVED_PORTS.contains(&number) => {
                Err(invalid_field("port", &format!("any port but {number}, which is reserved")))
            }
            number => Ok(Self(number)),
        }
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> Self {
        port.0
    }
}

impl FromStr for Port {
    type Err = Error;

    /// Decimal digits, in the one way to write a number: no sign, no leading zero.
    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        let number = text.parse::<u16>().ok().filter(|_| plain).unwrap_or_default();
        Self::try_from(number)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        for (text, number) in [("1", 1), ("22", 22), ("3000", 3000), ("49982", 49982), ("49993", 49993), ("65535", 65535)] {
            assert_eq!(text.parse::<Port>().unwrap().number(), number);
        }
        for text in [
            "",
            "0",
            "00",
            "03000",
            "+3000",
            "-1",
            " 80",
            "80 ",
            "3000@evil",
            "0x50",
            "49983",
            "49984",
            "49991",
            "49992",
            "65536",
            "99999",
            "\u{ff13}000",
        ] {
            assert!(text.parse::<Port>().is_err(), "{text}");
        }
    }
}
