//! Waiting for what there may be nothing of.

/// Waits for this, or for ever where there is nothing to wait for.
pub(crate) async fn if_any<F: Future>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
