//! What is tried again after a broken connection.

use std::time::Duration;

use cabana_client::{Error, Result};
use tokio::time::sleep;

/// The pauses before the attempts after the first. A service that is deployed anew is back within them.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// Tries something again that does no harm when it is done twice, for as long as connections break. `attempt` says whether it got on since the
/// last time: then the pauses begin anew.
pub(super) async fn persist<T>(mut attempt: impl AsyncFnMut() -> (Result<T>, bool)) -> Result<T> {
    let mut pauses = PAUSES.iter();
    loop {
        let (outcome, got_on) = attempt().await;
        let error = match outcome {
            Ok(done) => return Ok(done),
            Err(error) if error.is_retryable() || matches!(error, Error::ConnectionLost { .. }) => error,
            Err(error) => return Err(error),
        };
        if got_on {
            pauses = PAUSES.iter();
        }
        match pauses.next() {
            Some(pause) => sleep(*pause).await,
            None => return Err(error),
        }
    }
}
