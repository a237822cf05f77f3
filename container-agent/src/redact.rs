//! Removes secrets from text that leaves the agent: the summaries of requests, which the Durable Object keeps for its audit trail, and
//! what git prints.

use std::sync::{LazyLock, OnceLock};

use cabana_protocol::{Operation, audit::line};
use regex::Regex;

/// What stands in place of a secret.
const MASK: &str = "***";

/// Replaces what a pattern has found. A group that the pattern does not have is empty.
const MASK_FOUND: &str = "${keep}***${end}";

/// The shortest value of the environment that a summary masks: shorter ones (`1`, `debug`) would be found everywhere.
const SECRET_BYTES: usize = 8;

/// How much of a text a summary keeps at most. The longest secret is read beyond it: one that the cut goes through is not found.
const SEEN_BYTES: usize = 4 << 10;

/// Finds secrets. Most texts hold none, so the expression runs only where one of the hints occurs, in lower case.
struct Pattern {
    hints: &'static [&'static str],
    pattern: String,
    /// Compiled on first use.
    regex: OnceLock<Regex>,
}

impl Pattern {
    fn new(hints: &'static [&'static str], pattern: &str) -> Self {
        let pattern = format!("(?i){}", pattern.replace(r"\b", r"(?-u:\b)"));
        Self { hints, pattern, regex: OnceLock::new() }
    }

    fn may_match(&self, lower: &str) -> bool {
        self.hints.iter().any(|hint| lower.contains(hint))
    }

    fn mask(&self, text: &str) -> String {
        let regex = self.regex.get_or_init(|| Regex::new(&self.pattern).expect("the patterns are tested"));
        regex.replace_all(text, MASK_FOUND).into_owned()
    }
}

/// Secrets by their surroundings, which are kept as `keep` and `end`, or by their own shape. Word boundaries are ASCII: with the letters
/// of all languages the compiled expressions take 5 MiB.
static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    const NAME: &str =
        r"(?:token|passw(?:or)?d|passphrase|pwd|secret|credentials?|api[_-]?key|access[_-]?key|private[_-]?key|[_-]auth\b)";
    const NAMES: &[&str] = &["token", "passw", "passphrase", "pwd", "secret", "credential", "key", "auth"];
    const VALUE: &str = r#"(?:"[^"]*"?|'[^']*'?|[^\s&;|<>"']+)"#;
    let patterns: [(&[&str], String); 11] = [
        // URL user information.
        (&["://"], r"(?<keep>\b[a-z][a-z0-9+.-]*://)[^/\s]*(?<end>@)".to_owned()),
        (
            &["authorization"],
            format!(r#"(?<keep>\bauthorization["']?\s*[:=]\s*["']?(?:(?:basic|bearer|digest|token)\s+)?){VALUE}"#),
        ),
        (&["bearer"], format!(r"(?<keep>\bbearer\s+){VALUE}")),
        // Assignments, fields, parameters; then options.
        (NAMES, format!(r#"(?<keep>[a-z0-9_-]*{NAME}[a-z0-9_-]*["']?\s*[=:]\s*){VALUE}"#)),
        (NAMES, format!(r"(?<keep>(?:^|\s)--?[a-z0-9_-]*{NAME}[a-z0-9_-]*\s+){VALUE}")),
        // curl's, with a password behind the colon.
        (&["-u"], r#"(?<keep>(?:^|\s)(?:-u|--user|--proxy-user)[\s=]*["']?[^\s:"']+:)[^\s"']+"#.to_owned()),
        // Keys by their shape: of Cabana, GitHub, GitLab, Slack, AWS, Google, npm, PyPI, Hugging Face, DigitalOcean, and those of many that
        // begin with sk; JSON Web Tokens; PEM.
        (&["_"], r"\b(?:cab|cabana|gh[opusr]|github_pat|npm|hf|dop_v1|sk|pk|rk)_[a-z0-9_]{8,}".to_owned()),
        (&["-"], r"\b(?:sk|pk|rk|glpat|xox[a-z]|pypi)-[a-z0-9_-]{8,}".to_owned()),
        (
            &["akia", "asia", "aiza", "ya29"],
            r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bAIza[a-z0-9_-]{20,}|\bya29\.[a-z0-9_.-]+".to_owned(),
        ),
        (&["eyj"], r"\beyJ[a-z0-9_-]+\.[a-z0-9_-]+(?:\.[a-z0-9_-]*)?".to_owned()),
        (&["-----begin"], r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*".to_owned()),
    ];
    patterns.into_iter().map(|(hints, pattern)| Pattern::new(hints, &pattern)).collect()
});

/// The summary of a request, in one line, without its own secrets and those of the sandbox. Empty where the request has none.
pub fn summary<O: Operation>(request: &O, secrets: &[String]) -> String {
    let own = request.secrets();
    one_line(&request.summary(), own.into_iter().chain(secrets.iter().map(String::as_str)))
}

/// The beginning of a text in one line, with these secrets, and what looks like others, masked.
pub fn one_line<'a>(text: &str, secrets: impl Iterator<Item = &'a str>) -> String {
    let secrets: Vec<_> = secrets.filter(|secret| secret.len() >= SECRET_BYTES).collect();
    let margin = secrets.iter().map(|secret| secret.len()).max().unwrap_or(0).max(SEEN_BYTES);
    let end = text.floor_char_boundary(SEEN_BYTES + margin);
    let mut masked = mask(&text[..end], secrets.into_iter());
    if end < text.len() {
        masked.truncate(masked.floor_char_boundary(masked.len().saturating_sub(margin)));
    }
    line(&masked)
}

/// The text with these secrets, and what looks like others, masked.
pub fn mask<'a>(text: &str, secrets: impl Iterator<Item = &'a str>) -> String {
    let mut secrets: Vec<_> = secrets.filter(|secret| !secret.is_empty()).collect();
    // One may be part of another.
    secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut masked = secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, MASK));
    let lower = masked.to_lowercase();
    for pattern in PATTERNS.iter().filter(|pattern| pattern.may_match(&lower)) {
        masked = pattern.mask(&masked);
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        let cases = [
            ("ls -la /home/user", "ls -la /home/user"),
            ("git clone https://me:p@ss@example.com/a.git", "git clone https://***@example.com/a.git"),
            ("psql postgres://user:hunter2@db/x", "psql postgres://***@db/x"),
            ("npm view https://registry.npmjs.org/@scope/a", "npm view https://registry.npmjs.org/@scope/a"),
            ("curl -H 'Authorization: Bearer abc.def' x", "curl -H 'Authorization: Bearer ***' x"),
            ("curl -H \"authorization: token abcdef\" x", "curl -H \"authorization: token ***\" x"),
            ("curl -H Authorization:abc", "curl -H Authorization:***"),
            ("bearer x", "bearer ***"),
            ("API_TOKEN=abc DB_PASSWORD='a b c' make", "API_TOKEN=*** DB_PASSWORD=*** make"),
            ("export AWS_SECRET_ACCESS_KEY=\"a b", "export AWS_SECRET_ACCESS_KEY=***"),
            ("curl 'https://x/?a=1&access_token=abc&b=2'", "curl 'https://x/?a=1&access_token=***&b=2'"),
            (r#"{"password": "hunter2", "a": 1}"#, r#"{"password": ***, "a": 1}"#),
            ("tool --token abc --api-key=def --passphrase 'g h'", "tool --token *** --api-key=*** --passphrase ***"),
            ("curl -u me:hunter2 x", "curl -u me:*** x"),
            ("curl --user 'me:hunter2' x", "curl --user 'me:***' x"),
            ("echo ghp_0123456789abcdef sk-proj-0123456789", "echo *** ***"),
            ("echo AKIAIOSFODNN7EXAMPLE glpat-0123456789", "echo *** ***"),
            ("x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln y", "x *** y"),
            ("echo '-----BEGIN RSA PRIVATE KEY-----\nMII", "echo '***"),
            ("echo s3cret-value and 's3cret-value'", "echo *** and '***'"),
            ("echo s3cret-value-that-is-longer", "echo ***"),
            ("echo short", "echo short"),
            ("echo a\n--token\nabc", "echo a\\n--token\\n***"),
        ];
        for (text, expected) in cases {
            let secrets = ["s3cret-value", "s3cret-value-that-is-longer", "short"];
            assert_eq!(one_line(text, secrets.into_iter()), expected);
        }
    }

    #[test]
    fn every_pattern_compiles() {
        for pattern in PATTERNS.iter() {
            pattern.mask("");
        }
    }

    #[test]
    fn a_cut_does_not_expose_a_secret() {
        let secret = "0123456789".repeat(100);
        for before in (SEEN_BYTES - 20..=2 * SEEN_BYTES + 20).step_by(97) {
            // What is found before makes the rest move up.
            let text = format!("token={} {secret}", "a".repeat(before));
            let summary = one_line(&text, std::iter::once(secret.as_str()));
            assert!(!summary.contains("0123"), "{before}: {summary}");
        }
    }

    #[test]
    fn a_summary_masks_the_secrets_of_its_request() {
        let exec: cabana_protocol::exec::Exec = serde_json::from_str(
            r#"{"command":["echo","hunter2hunter2","of-the-sandbox"],"env":{"A":"hunter2hunter2","B":null}}"#,
        )
        .unwrap();
        assert_eq!(summary(&exec, &["of-the-sandbox".to_owned()]), "echo *** ***");
    }
}
