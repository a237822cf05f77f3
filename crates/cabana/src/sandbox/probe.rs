//! Asking the agent how it is, and whether it is the one that is meant.

use std::{pin::pin, time::Duration};

use cabana_protocol::health::{Health, OLDEST_PROTOCOL, PROOF_PREFIX};
use data_encoding::HEXLOWER;
use futures_util::future::{self, Either};
use sha2::{Digest, Sha256};
use worker::{Delay, Fetcher};

/// What came of it.
#[derive(Debug)]
pub(super) enum Answer {
    /// The agent of this start is there.
    Ours(Health),
    /// It is, and speaks an older wire than we understand.
    TooOld(Health),
    /// Somebody else is: an earlier container, or a program in the sandbox that has taken the agent's place.
    Foreign,
    /// Nobody listens, or the connection broke.
    Nobody,
    /// Nobody answered in time.
    Silence,
}

/// Asks once. The agent's secret is not sent: it answers with something that only this start's agent can know.
pub(super) async fn probe(agent: &Fetcher, secret: &str, limit: Duration) -> Answer {
    let ask = async {
        let Ok(mut response) = agent.fetch("http://sandbox/health", None).await else { return Answer::Nobody };
        // Read to its end, so that the connection is free again.
        match (response.status_code(), response.bytes().await) {
            (200, Ok(body)) => judge(&body, secret),
            (_, Ok(_)) => Answer::Foreign,
            (_, Err(_)) => Answer::Nobody,
        }
    };
    match future::select(pin!(ask), pin!(Delay::from(limit))).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => Answer::Silence,
    }
}

fn judge(body: &[u8], secret: &str) -> Answer {
    match serde_json::from_slice::<Health>(body) {
        Ok(health) if health.protocol < OLDEST_PROTOCOL => Answer::TooOld(health),
        Ok(health) if health.proof == proof(secret) => Answer::Ours(health),
        _ => Answer::Foreign,
    }
}

/// See [`Health::proof`].
fn proof(secret: &str) -> String {
    HEXLOWER.encode(&Sha256::new().chain_update(PROOF_PREFIX).chain_update(secret).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_starts_agent_is_ours() {
        let health = |protocol: u32, proof: &str| {
            format!(r#"{{"status":"ok","version":"1","protocol":{protocol},"incarnation":"a","proof":"{proof}","new":1}}"#)
        };
        let own = proof("s3cret");
        assert_eq!(own, "d5f1627555c6229e9e3f5c89c5ba47e1fcdbfb523dd4fe10099aee71c3ac87b8");
        assert!(matches!(judge(health(1, &own).as_bytes(), "s3cret"), Answer::Ours(_)));
        assert!(matches!(judge(health(9, &own).as_bytes(), "s3cret"), Answer::Ours(_)), "what is newer understands us");
        assert!(matches!(judge(health(1, &proof("other")).as_bytes(), "s3cret"), Answer::Foreign));
        assert!(matches!(judge(health(0, "").as_bytes(), "s3cret"), Answer::TooOld(_)));
        assert!(matches!(judge(br#"{"status":"ok","version":"0","incarnation":"a"}"#, "s3cret"), Answer::TooOld(_)));
        assert!(matches!(judge(b"<html>", "s3cret"), Answer::Foreign));
    }
}
