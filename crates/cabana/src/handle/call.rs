//! What each operation answers.

use cabana_protocol::{Fold, Operation, Streaming};
use serde::de::DeserializeOwned;

/// An operation of the one list, and all that it answers: its response, and of a streaming one what its events carried as well.
///
/// Implemented for every operation of the agent, so that nothing is lost by choosing the wrong verb.
pub trait Call: Operation {
    /// The answer.
    type Output: DeserializeOwned + Send + 'static;
}

macro_rules! calls {
    (calls: [$($call:ty),* $(,)?], streams: [$($stream:ty),* $(,)?] $(,)?) => {
        $(impl Call for $call {
            type Output = <$call as Operation>::Response;
        })*
        $(impl Call for $stream {
            type Output = <<$stream as Streaming>::Fold as Fold<$stream>>::Output;
        })*
    };
}

cabana_protocol::operations!(calls);
