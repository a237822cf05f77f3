//! Randomness from the runtime.

use data_encoding::{BASE32_NOPAD, HEXLOWER};

/// 26 characters of `[a-z2-7]`, 128 random bits: names that nobody guesses and no two share.
pub fn name() -> String {
    BASE32_NOPAD.encode(&bytes::<16>()).to_ascii_lowercase()
}

/// 64 hexadecimal digits, 256 random bits.
pub fn secret() -> String {
    HEXLOWER.encode(&bytes::<32>())
}

/// Random bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the runtime has randomness inside a request");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_secrets_have_their_sizes_and_differ() {
        assert_eq!((name().len(), secret().len()), (26, 64));
        assert!(name().bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
        assert_ne!(name(), name());
        assert_ne!(secret(), secret());
    }
}
