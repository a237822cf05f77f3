//! What each operation answers.

use cabana_protocol::{Fold, Operation, Streaming};

use crate::{Result, Sandbox};

/// An operation of the one list, and all that it answers: its response, and of a streaming one what its events carried as well.
///
/// Implemented for every operation, so that nothing is lost by choosing the wrong verb.
pub trait Call: Operation {
    /// The answer.
    type Output: Send + 'static;

    /// Runs it in this sandbox to its end.
    fn call(self, sandbox: &Sandbox) -> impl Future<Output = Result<Self::Output>> + Send;
}

macro_rules! calls {
    (calls: [$($call:ty),* $(,)?], streams: [$($stream:ty),* $(,)?] $(,)?) => {
        $(impl Call for $call {
            type Output = <$call as Operation>::Response;

            async fn call(self, sandbox: &Sandbox) -> Result<Self::Output> {
                sandbox.post(&self).await
            }
        })*
        $(impl Call for $stream {
            type Output = <<$stream as Streaming>::Fold as Fold<$stream>>::Output;

            async fn call(self, sandbox: &Sandbox) -> Result<Self::Output> {
                sandbox.stream(self).await?.output().await
            }
        })*
    };
}

cabana_protocol::operations!(calls);
