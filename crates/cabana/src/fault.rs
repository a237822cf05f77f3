//! What the platform's messages mean. It gives no codes; its words are all there is to go by. Pure.

use cabana_protocol::{Code, Error, sandbox::Reason};
use serde_json::json;

/// How long a caller is told to wait before it repeats a request that was not admitted, in milliseconds.
pub(crate) const RETRY_AFTER_MS: u64 = 1_000;

/// The same while the platform has no container to give.
const PLATFORM_RETRY_AFTER_MS: u64 = 5_000;

/// What became of a request whose call to a container failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No connection came about: the agent never saw it.
    NotAdmitted,
    /// The connection broke: the agent may have carried it out.
    Interrupted,
}

/// What the platform's messages contain where no connection came about.
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
    pub(crate) fn parse(message: &str) -> Self {
        if contains_any(message, &NOT_ADMITTED) { Self::NotAdmitted } else { Self::Interrupted }
    }

    /// What to tell the caller.
    pub(crate) fn error(self) -> Error {
        match self {
            Self::NotAdmitted => not_ready("the sandbox's agent does not accept connections"),
            Self::Interrupted => interrupted("the connection to the sandbox broke"),
        }
    }
}

/// Error for a request that may have been carried out. A command that it started goes on for a while.
pub(crate) fn interrupted(what: &str) -> Error {
    let message =
        format!("{what}; the request may have been carried out, and process.attach continues a command that it started");
    Error::new(Code::Interrupted, message).with_details(json!({ "admitted": true, "reason": "reconnect" }))
}

/// A state of the platform, for which no sandbox is to blame: it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It has no container to give.
    NoCapacity,
    /// It starts no more containers for a while.
    RateLimited,
    /// Its container service is not reachable, provisions an image, or replaces a machine.
    Unavailable,
}

const NO_CAPACITY: [&str; 4] =
    ["no container instance", "maximum number of running container instances", "capacity", "no available"];

const RATE_LIMITED: [&str; 3] = ["too many containers", "too many requests", "rate limit"];

const UNAVAILABLE: [&str; 12] = [
    "temporarily unavailable",
    "try again",
    "network connection lost",
    "provision",
    "being pulled",
    "code was updated",
    "runtime update",
    "host restart",
    "host is restarting",
    "connection refused",
    "disconnected",
    "internal error",
];

/// How the platform says that its connection to a container's host has ended, which says nothing of the container.
const CONNECTION_ENDED: [&str; 2] = ["connection lost", "disconnected"];

/// How the platform says that it, and not the program, has ended a container.
const SIGNALLED: [&str; 2] = ["runtime signalled the container to exit", "container was evicted"];

/// How the platform says that it does not have a snapshot, or none any more.
const NO_SNAPSHOT: [&str; 2] = ["snapshot", "not found"];

impl Condition {
    /// Reads the platform's message; `None` where it is about the container itself.
    pub(crate) fn parse(message: &str) -> Option<Self> {
        [(&RATE_LIMITED[..], Self::RateLimited), (&NO_CAPACITY, Self::NoCapacity), (&UNAVAILABLE, Self::Unavailable)]
            .into_iter()
            .find_map(|(words, condition)| contains_any(message, words).then_some(condition))
    }

    /// The reason of a sandbox that is down because of it.
    pub(crate) fn reason(self, message: String) -> Reason {
        match self {
            Self::NoCapacity => Reason::NoCapacity { message },
            Self::RateLimited => Reason::RateLimited { message },
            Self::Unavailable => Reason::PlatformUnavailable { message },
        }
    }

    /// What to tell a caller that waits for a container.
    pub(crate) fn error(self, message: &str) -> Error {
        let (code, what) = match self {
            Self::NoCapacity => (Code::ContainerNotReady, "the platform has no container for the sandbox at the moment"),
            Self::RateLimited => (Code::TooManyRequests, "the platform starts no more containers at the moment"),
            Self::Unavailable => (Code::ContainerNotReady, "the platform's containers are not available at the moment"),
        };
        let details = json!({ "retry_after_ms": PLATFORM_RETRY_AFTER_MS });
        Error::new(code, format!("{what}: {message}"))
            .with_details(details)
            .with_details(self.reason(message.to_owned()).details())
    }
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Its program exited with code 0.
    Succeeded,
    /// The platform ended it, or nobody knows more.
    Evicted,
    /// The platform could not keep it, or does not know what became of it.
    Platform(Condition, String),
    /// It was never there: the platform does not have the snapshot that it was to begin with.
    NoSnapshot(String),
    /// Its program failed, in the platform's words.
    Crashed(String),
}

impl Exit {
    /// Reads the platform's message about a container that has ended.
    pub(crate) fn parse(message: String) -> Self {
        // An exit of the program is named first: what it printed may contain anything.
        if message.to_lowercase().contains("unexpected exit code") {
            return Self::Crashed(message);
        }
        if contains_any(&message, &SIGNALLED) || contains_any(&message, &["on a container that is not running"]) {
            return Self::Evicted;
        }
        if NO_SNAPSHOT.iter().all(|part| message.to_lowercase().contains(part)) {
            return Self::NoSnapshot(message);
        }
        match Condition::parse(&message) {
            Some(condition) => Self::Platform(condition, message),
            None => Self::Crashed(message),
        }
    }

    /// Why the sandbox is down.
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Succeeded | Self::Evicted => Reason::Evicted,
            Self::Platform(condition, message) => condition.reason(message),
            Self::NoSnapshot(message) => Reason::StartFailed { message },
            Self::Crashed(message) => Reason::Crashed { message },
        }
    }

    /// Whether the program has ended by itself. Otherwise the platform has ended it, or has lost sight of it.
    pub(crate) fn is_of_program(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Crashed(_))
    }

    /// Whether the platform may have lost sight of a container that runs: all that is known to have ended is its own connection.
    pub(crate) fn is_hearsay(&self) -> bool {
        matches!(self, Self::Platform(Condition::Unavailable, words) if contains_any(words, &CONNECTION_ENDED))
    }

    /// What happened, for people.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Succeeded => "it exited with code 0",
            Self::Evicted => "the platform ended it",
            Self::Platform(_, message) | Self::NoSnapshot(message) | Self::Crashed(message) => message,
        }
    }
}

/// The error for a request that may be repeated in a moment.
pub(crate) fn not_ready(message: impl Into<String>) -> Error {
    Error::new(Code::ContainerNotReady, message).with_details(json!({ "retry_after_ms": RETRY_AFTER_MS }))
}

fn contains_any(message: &str, words: &[&str]) -> bool {
    let message = message.to_lowercase();
    words.iter().any(|word| message.contains(word))
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
            assert_eq!(Fault::parse(message), fault, "{message}");
        }
    }

    #[test]
    fn only_what_was_not_admitted_is_retryable() {
        assert!(Fault::NotAdmitted.error().retryable);
        assert_eq!(Fault::NotAdmitted.error().retry_after_ms(), Some(RETRY_AFTER_MS));
        assert!(!Fault::Interrupted.error().retryable);
    }

    #[test]
    fn the_platforms_own_conditions_are_told_from_crashes() {
        let platform = |condition, message: &str| Exit::Platform(condition, message.to_owned());
        for (message, condition) in [
            ("there is no container instance that can be provided to this durable object", Condition::NoCapacity),
            ("Maximum number of running container instances exceeded.", Condition::NoCapacity),
            ("you are requesting too many containers per second", Condition::RateLimited),
            ("The container connection is temporarily unavailable, try again shortly", Condition::Unavailable),
            ("Network connection lost.", Condition::Unavailable),
            ("the image is still being provisioned", Condition::Unavailable),
            ("Durable Object reset because its code was updated.", Condition::Unavailable),
        ] {
            assert_eq!(Exit::parse(message.to_owned()), platform(condition, message));
            assert!(!condition.reason(String::new()).is_crash() && condition.reason(String::new()).is_failure());
            let error = condition.error(message);
            assert!(error.retryable && error.retry_after_ms() == Some(PLATFORM_RETRY_AFTER_MS), "{error:?}");
        }
        for message in [
            "Container exited with unexpected exit code: 137",
            "Container failed to start",
            "no capacity: unexpected exit code: 3",
        ] {
            assert_eq!(Exit::parse(message.to_owned()), Exit::Crashed(message.to_owned()));
        }
        let missing = r#"Snapshot "0b5c" was not found."#;
        assert_eq!(Exit::parse(missing.to_owned()), Exit::NoSnapshot(missing.to_owned()));
        for message in
            ["runtime signalled the container to exit: 15", "monitor() cannot be called on a container that is not running."]
        {
            assert_eq!(Exit::parse(message.to_owned()).reason(), Reason::Evicted, "{message}");
        }
    }
}
