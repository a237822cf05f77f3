//! How large the Worker is as the platform counts it: everything that is uploaded, compressed by gzip.

use anyhow::{Context, Result, ensure};

/// Most KiB. The platform takes more of accounts that pay; a Worker is sent to every place it runs at and compiled there before it answers.
const LIMIT_KIB: f64 = 1_024.0;

/// The KiB that `wrangler deploy --dry-run` has printed.
pub(crate) fn compressed_kib(output: &str) -> Result<f64> {
    number_after(output, "gzip: ").context("wrangler deploy prints no compressed size")
}

/// Fails if what `wrangler deploy --dry-run` has printed is more than the Worker may have.
pub(crate) fn check(output: &str) -> Result<()> {
    let kib = compressed_kib(output)?;
    ensure!(kib <= LIMIT_KIB, "the Worker has {kib} KiB when it is compressed, and may have {LIMIT_KIB}");
    Ok(())
}

/// The number that follows these words.
pub(crate) fn number_after(text: &str, words: &str) -> Option<f64> {
    let (_, rest) = text.split_once(words)?;
    rest.split_whitespace().next()?.replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{check, number_after};

    #[test]
    fn numbers_are_read_after_their_words_only() {
        let text = "Total Upload: 2,980.10 KiB / gzip: 1,003.25 KiB";
        assert_eq!(number_after(text, "gzip: "), Some(1_003.25));
        assert_eq!(number_after(text, "Upload: "), Some(2_980.1));
        assert_eq!(number_after(text, "Active: "), None);
        assert_eq!(number_after("gzip: small", "gzip: "), None);
    }

    #[test]
    fn a_worker_that_is_too_large_is_refused() {
        assert!(check("Total Upload: 2,980.10 KiB / gzip: 1,024.00 KiB").is_ok());
        let error = check("Total Upload: 2,980.10 KiB / gzip: 1,024.01 KiB").unwrap_err();
        assert_eq!(error.to_string(), "the Worker has 1024.01 KiB when it is compressed, and may have 1024");
        assert!(check("Total Upload").is_err());
    }
}
