//! How a remote knows who asks.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// The user name that goes with a bare token.
pub const TOKEN_USERNAME: &str = "x-access-token";

/// What a remote asks for, for this one operation. It is given to the host that the URL names, and to no other. It is never in a
/// command line, a variable, a URL, a log or the repository's configuration, and nothing remembers it. Values have at most 4,096
/// bytes and no line breaks.
///
/// What runs in the sandbox as the same user can look into git while it runs, as into any other process of its own.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Credentials {
    /// A name and a password.
    Password {
        /// The name.
        username: String,
        /// The password, or a token in its place.
        password: String,
    },
    /// A token: the password of a user `x-access-token`, which GitHub and GitLab take.
    Token {
        /// The token.
        token: String,
    },
}

impl<'de> Deserialize<'de> for Credentials {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            username: Option<String>,
            password: Option<String>,
            token: Option<String>,
        }
        match Fields::deserialize(deserializer)? {
            Fields { username: Some(username), password: Some(password), token: None } => {
                Ok(Self::Password { username, password })
            }
            Fields { username: None, password: None, token: Some(token) } => Ok(Self::Token { token }),
            _ => Err(de::Error::custom("takes {\"username\", \"password\"} or {\"token\"}")),
        }
    }
}

impl Credentials {
    /// The user name and the password.
    pub fn pair(&self) -> (&str, &str) {
        match self {
            Self::Password { username, password } => (username, password),
            Self::Token { token } => (TOKEN_USERNAME, token),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials")
    }
}
