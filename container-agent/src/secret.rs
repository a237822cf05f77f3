//! The secret that the Durable Object gives the agent at its start.

use std::{ffi::CStr, fmt};

use cabana_protocol::health::{MAX_CHALLENGE_BYTES, PROOF_PREFIX};
use data_encoding::HEXLOWER;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Text that is compared in constant time and never printed.
#[derive(Clone)]
pub struct Secret {
    text: String,
}

impl Secret {
    /// Wraps the text.
    pub fn new(text: String) -> Self {
        Self { text }
    }

    /// Proves to the maker of the challenge that the agent knows the secret, see [`Health::proof`](cabana_protocol::health::Health::proof).
    /// `None` for a challenge that is too long.
    pub fn prove(&self, challenge: &str) -> Option<String> {
        let hmac = Hmac::<Sha256>::new_from_slice(self.text.as_bytes()).ok()?;
        let proof = hmac.chain_update(PROOF_PREFIX).chain_update(challenge).finalize().into_bytes();
        (challenge.len() <= MAX_CHALLENGE_BYTES).then(|| HEXLOWER.encode(&proof))
    }

    /// Whether `candidate` is the secret. Takes as long for a near miss as for a wild guess of the same length.
    pub fn is(&self, candidate: &[u8]) -> bool {
        self.text.as_bytes().ct_eq(candidate).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// Closes this process's memory to what it will start. The process is no longer dumpable, so that only a caller with
/// CAP_SYS_PTRACE can look into it, and no child can have that capability (where this process may take it away): root in the
/// sandbox can still trace what it started itself.
///
/// To be called first thing in `main`, while there is one thread.
#[allow(unsafe_code)]
pub fn close_memory() {
    // SAFETY: prctl with PR_SET_DUMPABLE takes one integer and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
    const CAP_SYS_PTRACE: libc::c_ulong = 19;
    // SAFETY: prctl with PR_CAPBSET_DROP takes one integer and touches no memory.
    unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_PTRACE) };
}

/// Takes text out of the environment: afterwards neither a child nor `/proc/<pid>/environ` shows it.
///
/// To be called in `main`, while there is one thread. `None` where the variable is missing, empty or not UTF-8.
#[allow(unsafe_code)]
pub fn take(name: &str) -> Option<String> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    // SAFETY: there is one thread, so nobody reads or changes the environment meanwhile.
    unsafe {
        wipe(name.as_bytes());
        std::env::remove_var(name);
    }
    Some(text)
}

/// Overwrites the value where the kernel put it at exec: removing a variable only forgets the pointer to it.
///
/// # Safety
/// No other thread may use the environment meanwhile.
#[allow(unsafe_code)]
unsafe fn wipe(name: &[u8]) {
    unsafe extern "C" {
        static mut environ: *mut *mut libc::c_char;
    }
    // SAFETY: environ(7) is an array of writable C strings that ends with a null pointer, and the caller vouches that it
    // stays as it is; each write keeps within the string's length.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let length = CStr::from_ptr(*entry).to_bytes().len();
            let text = std::slice::from_raw_parts_mut((*entry).cast::<u8>(), length);
            if text.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"=")) {
                text[name.len() + 1..].fill(0);
            }
            entry = entry.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_what_the_durable_object_expects() {
        let expected = "b97eaab37855b5023cdc7d9d1cbe30714d5dc4e12b65b87dae7760765f73b059";
        let secret = Secret::new("s3cret".into());
        assert_eq!(secret.prove("once").as_deref(), Some(expected));
        assert_ne!(secret.prove("twice").as_deref(), Some(expected), "each challenge has its own");
        assert_eq!(secret.prove(&"x".repeat(MAX_CHALLENGE_BYTES + 1)), None);
    }

    #[test]
    fn only_the_secret_itself_is_the_secret() {
        let secret = Secret::new("s3cret".into());
        assert!(secret.is(b"s3cret"));
        for wrong in ["", "s3cre", "s3cret ", "S3cret", "s3cret\0"] {
            assert!(!secret.is(wrong.as_bytes()), "{wrong:?}");
        }
        assert!(!format!("{secret:?}").contains("s3cret"));
    }
}
