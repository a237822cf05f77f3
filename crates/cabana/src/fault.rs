//! What a failed call to a container means for the caller. Pure.

use cabana_protocol::{Code, Error};
use serde_json::json;

/// How long a caller is told to wait before it repeats a request that was not admitted, in milliseconds.
pub(crate) const RETRY_AFTER_MS: u64 = 1_000;

/// What became of a request whose call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No connection came about: the agent never saw it.
    NotAdmitted,
    /// The connection broke: the agent may have carried it out.
    Interrupted,
}

/// What the platform's messages contain where no connection came about. It gives no codes; this is what there is to go by.
const NOT_ADMITTED: [&str; 6] = [
    "not listening",
    "not running",
    "connection refused",
    "connecting to container port",
    "no container instance",
    "requires a running container",
];

impl Fault {
    /// Reads the platform's message. What is not known counts as interrupted, the more careful of the two.
    pub(crate) fn of(message: &str) -> Self {
        let message = message.to_lowercase();
        if NOT_ADMITTED.iter().any(|known| message.contains(known)) { Self::NotAdmitted } else { Self::Interrupted }
    }

    /// What to tell the caller.
    pub(crate) fn error(self) -> Error {
        match self {
            Self::NotAdmitted => not_ready("the sandbox's agent does not accept connections"),
            Self::Interrupted => {
                let message = "the connection to the sandbox broke; the request may have been carried out";
                Error::new(Code::Interrupted, message).with_details(json!({ "admitted": true }))
            }
        }
    }
}

/// The error for a request that may be repeated in a moment.
pub(crate) fn not_ready(message: impl Into<String>) -> Error {
    Error::new(Code::ContainerNotReady, message).with_details(json!({ "retry_after_ms": RETRY_AFTER_MS }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_counts_as_not_admitted() {
        for (message, fault) in [
            ("Container is not listening to port 49983", Fault::NotAdmitted),
            ("The container is not running, consider calling start()", Fault::NotAdmitted),
            ("connect(): Container ingress proxy is not running.", Fault::NotAdmitted),
            ("connect(): Connection refused: container port not found.", Fault::NotAdmitted),
            ("Connecting to container port through proxy-everything failed: [400] Bad Request", Fault::NotAdmitted),
            ("there is no container instance that can be provided to this durable object", Fault::NotAdmitted),
            ("Network connection lost.", Fault::Interrupted),
            ("Container port connection closed unexpectedly.", Fault::Interrupted),
            ("", Fault::Interrupted),
        ] {
            assert_eq!(Fault::of(message), fault, "{message}");
        }
    }

    #[test]
    fn only_what_was_not_admitted_is_retryable() {
        assert!(Fault::NotAdmitted.error().retryable);
        assert_eq!(Fault::NotAdmitted.error().retry_after_ms(), Some(RETRY_AFTER_MS));
        assert!(!Fault::Interrupted.error().retryable);
    }
}
