//! Values of options.

use std::{env, str::FromStr};

use anyhow::{Context, Result};

/// `NAME=VALUE`, or `NAME` with the value of this environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    name: String,
    value: Option<String>,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() {
            return Err("a variable is NAME=VALUE, or NAME".to_owned());
        }
        Ok(Self { name: name.to_owned(), value })
    }
}

impl Assignment {
    /// The name and the value.
    pub(crate) fn pair(&self) -> Result<(String, Option<String>)> {
        let value = match &self.value {
            Some(value) => value.clone(),
            None => env::var(&self.name).ok().with_context(|| format!("{} is not set here: give it as NAME=VALUE", self.name))?,
        };
        Ok((self.name.clone(), Some(value)))
    }
}

/// `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    name: String,
    value: String,
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self { name: name.to_owned(), value: value.to_owned() }),
            _ => Err("a label is NAME=VALUE".to_owned()),
        }
    }
}

impl Label {
    pub(crate) fn pair(&self) -> (String, String) {
        (self.name.clone(), self.value.clone())
    }
}

/// A span of time such as `90s`, `10m` or `1h30m`, in milliseconds. A plain number is seconds.
pub(crate) fn span(text: &str) -> Result<u64, String> {
    let span = match text.parse::<u32>() {
        Ok(seconds) => std::time::Duration::from_secs(seconds.into()),
        Err(_) => {
            humantime::parse_duration(text).map_err(|_| "a time is a number with a unit, such as 90s, 10m or 1h30m".to_owned())?
        }
    };
    u64::try_from(span.as_millis()).map_err(|_| "the time is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Assignment, Label, span};

    #[test]
    fn times_have_units() {
        for (text, expected) in [
            ("90s", Some(90_000)),
            ("1h30m", Some(5_400_000)),
            ("250ms", Some(250)),
            ("5", Some(5_000)),
            ("soon", None),
            ("-1s", None),
            ("", None),
        ] {
            assert_eq!(span(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn variables_come_from_the_line_or_from_this_environment() {
        let pair = |text: &str| text.parse::<Assignment>().unwrap().pair();
        assert_eq!(pair("A=b=c").unwrap(), ("A".to_owned(), Some("b=c".to_owned())));
        assert_eq!(pair("A=").unwrap().1.as_deref(), Some(""));
        assert_eq!(pair("CARGO_PKG_NAME").unwrap().1.as_deref(), Some("cabana-cli"));
        assert!(pair("CABANA_NOT_SET_ANYWHERE").unwrap_err().to_string().contains("is not set here"));
        assert!("=b".parse::<Assignment>().is_err() && "a".parse::<Label>().is_err() && "=b".parse::<Label>().is_err());
    }
}
