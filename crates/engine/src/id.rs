//! Identifiers of containers and images.

/// 64 random hexadecimal digits.
///
/// # Panics
/// If the kernel has no random numbers to give, which no running Linux does.
pub fn random_hex() -> String {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
