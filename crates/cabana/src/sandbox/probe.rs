//! Asking an agent how it is, and whether it is the one that is meant.

use std::{pin::pin, time::Duration};

use cabana_protocol::{
    decode_own,
    health::{CHALLENGE, Health, OLDEST_PROTOCOL, PROOF_PREFIX},
};
use data_encoding::HEXLOWER;
use futures_util::future::{self, Either};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use worker::{Delay, Fetcher};

use crate::{lifecycle::Probe, random};

/// Asks the agent for its health. Its secret is not sent: it answers with something that only this start's agent can know.
pub(super) async fn probe(agent: Fetcher, secret: String, limit: Duration) -> Probe {
    let challenge = random::name();
    let ask = async {
        let Ok(mut response) = agent.fetch(format!("http://sandbox/health?{CHALLENGE}={challenge}"), None).await else {
            return Probe::Unreachable;
        };
        // Read to its end, so that the connection is free again.
        match (response.status_code(), response.bytes().await) {
            (200, Ok(body)) => judge(&body, &secret, &challenge),
            (_, Ok(_)) => Probe::WrongAgent,
            (_, Err(_)) => Probe::Unreachable,
        }
    };
    match future::select(pin!(ask), pin!(Delay::from(limit))).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => Probe::TimedOut,
    }
}

fn judge(body: &[u8], secret: &str, challenge: &str) -> Probe {
    match decode_own::<Health>(body) {
        Ok(health) if health.protocol < OLDEST_PROTOCOL => Probe::OlderAgent(health),
        Ok(health) if proves(&health.proof, secret, challenge) => Probe::Healthy(health),
        _ => Probe::WrongAgent,
    }
}

/// See [`Health::proof`].
fn proves(proof: &str, secret: &str, challenge: &str) -> bool {
    let (Ok(proof), Ok(hmac)) = (HEXLOWER.decode(proof.as_bytes()), Hmac::<Sha256>::new_from_slice(secret.as_bytes())) else {
        return false;
    };
    hmac.chain_update(PROOF_PREFIX).chain_update(challenge).verify_slice(&proof).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By another implementation; the agent's own test has the same.
    const PROOF: &str = "b97eaab37855b5023cdc7d9d1cbe30714d5dc4e12b65b87dae7760765f73b059";

    #[test]
    fn only_this_starts_agent_is_ours() {
        let health = |protocol: u32, proof: &str| {
            format!(r#"{{"status":"ok","version":"1","protocol":{protocol},"incarnation":"a","proof":"{proof}","new":1}}"#)
        };
        let judge = |body: &[u8]| judge(body, "s3cret", "once");
        assert!(matches!(judge(health(2, PROOF).as_bytes()), Probe::Healthy(_)));
        assert!(matches!(judge(health(9, PROOF).as_bytes()), Probe::Healthy(_)), "what is newer understands us");
        assert!(matches!(super::judge(health(2, PROOF).as_bytes(), "other", "once"), Probe::WrongAgent));
        assert!(matches!(super::judge(health(2, PROOF).as_bytes(), "s3cret", "twice"), Probe::WrongAgent), "a replay");
        for wrong in ["", "zz", &PROOF[..62], &PROOF.to_uppercase()] {
            assert!(matches!(judge(health(2, wrong).as_bytes()), Probe::WrongAgent), "{wrong}");
        }
        assert!(matches!(judge(health(0, "").as_bytes()), Probe::OlderAgent(_)));
        assert!(matches!(judge(br#"{"status":"ok","version":"0","incarnation":"a"}"#), Probe::OlderAgent(_)));
        assert!(matches!(judge(b"<html>"), Probe::WrongAgent));
    }
}
