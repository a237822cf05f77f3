//! Why a request failed.

use std::{error::Error as StdError, time::Duration};

use cabana_protocol::Code;

/// What a fallible call of this crate answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request failed. Branch on [`Error::code`], or on the variant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The service refused the request, or failed to carry it out.
    #[error("{error}")]
    Service {
        /// What the service says.
        error: cabana_protocol::Error,
        /// The HTTP status of the answer; that of the code where the error came over a WebSocket.
        status: u16,
        /// Names the request in the logs and the audit trail of the service.
        request_id: Option<String>,
    },
    /// No connection was made: the request was not sent.
    #[error("cannot connect to {url}: {cause}")]
    Unreachable {
        /// The service.
        url: String,
        /// What the network says.
        cause: Box<dyn StdError + Send + Sync>,
    },
    /// The connection broke: the request may have been carried out.
    #[error("the connection to the service broke: {message}")]
    ConnectionLost {
        /// What happened.
        message: String,
    },
    /// The answer does not have the form that it must have.
    #[error("the answer of the service cannot be understood: {message}")]
    Malformed {
        /// What is wrong with it.
        message: String,
    },
    /// The client's own settings, or an argument, cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// Reading what is uploaded failed on this side.
    #[error(transparent)]
    Local(#[from] std::io::Error),
}

impl Error {
    /// The service's code, where the service has answered.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Service { error, .. } => Some(error.code),
            _ => None,
        }
    }

    /// The word that tells apart the causes of one code, for instance `no_such_file`.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Service { error, .. } => error.details.as_ref()?.get("reason")?.as_str(),
            _ => None,
        }
    }

    /// The name of the request in the logs of the service.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Service { request_id, .. } => request_id.as_deref(),
            _ => None,
        }
    }

    /// The HTTP status of the answer, where there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Service { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// True where the request was not carried out, and a repeat may succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Service { error, .. } => error.retryable,
            Self::Unreachable { .. } => true,
            _ => false,
        }
    }

    /// How long the service asks to wait before a repeat.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Service { error, .. } => error.retry_after_ms().map(Duration::from_millis),
            _ => None,
        }
    }

    /// True where it is not known whether the request was carried out.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::ConnectionLost { .. }) || self.code() == Some(Code::Interrupted)
    }

    pub(crate) fn lost(message: impl Into<String>) -> Self {
        Self::ConnectionLost { message: message.into() }
    }

    pub(crate) fn malformed(message: impl ToString) -> Self {
        Self::Malformed { message: message.to_string() }
    }

    /// An error that came without an HTTP answer of its own.
    pub(crate) fn of_frame(error: cabana_protocol::Error) -> Self {
        let status = error.code.status();
        Self::Service { error, status, request_id: None }
    }
}

impl From<cabana_protocol::Error> for Error {
    /// For checks that are made on this side, such as that of a sandbox's id.
    fn from(error: cabana_protocol::Error) -> Self {
        Self::of_frame(error)
    }
}

#[cfg(test)]
mod tests {
    use super::Error;
    use cabana_protocol::Code;
    use std::time::Duration;

    #[test]
    fn an_error_of_the_service_says_what_to_act_on() {
        let full = cabana_protocol::Error::new(Code::TooManyRequests, "full").because("running");
        let error = Error::Service { error: full, status: 429, request_id: Some("r".to_owned()) };
        assert_eq!((error.code(), error.reason(), error.request_id()), (Some(Code::TooManyRequests), Some("running"), Some("r")));
        assert_eq!((error.is_retryable(), error.retry_after(), error.status()), (true, Some(Duration::from_secs(1)), Some(429)));
        assert!(!error.is_ambiguous());
    }

    #[test]
    fn a_broken_connection_is_ambiguous_and_one_never_made_is_not() {
        let lost = Error::lost("reset");
        assert!(lost.is_ambiguous() && !lost.is_retryable());
        let unreachable = Error::Unreachable { url: "http://x".to_owned(), cause: "refused".into() };
        assert!(!unreachable.is_ambiguous() && unreachable.is_retryable());
    }
}
