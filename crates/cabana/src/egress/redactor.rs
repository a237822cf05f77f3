//! Keeps secrets out of what a server answers: it may repeat the request, secret and all. Pure.
//!
//! Each byte of a secret becomes an asterisk, so that lengths stay what the server has announced. A server that answers with a secret in another
//! form than those that [`Redactor::new`] knows is beyond this: no secret should be sent to one.

use data_encoding::BASE64;
use memchr::memmem::Finder;

/// Shorter forms would be found where nobody has put them.
const MIN_FORM: usize = 8;

/// Replaces secrets in a body that comes in pieces.
pub(super) struct Redactor {
    forms: Vec<Finder<'static>>,
    /// The end of what has come, where a secret may have begun.
    held: Vec<u8>,
}

impl Redactor {
    /// For these secrets, each in the forms in which servers repeat requests: as it is, in Base64, percent-encoded, and as in JSON.
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms: Vec<Vec<u8>> = secrets.into_iter().flat_map(forms).filter(|form| form.len() >= MIN_FORM).collect();
        // A longer form may hold a shorter one, and is to be found whole.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self { forms: forms.iter().map(|form| Finder::new(form).into_owned()).collect(), held: Vec::new() }
    }

    /// Whether a text holds a secret.
    pub(super) fn finds(&self, text: &str) -> bool {
        self.forms.iter().any(|form| form.find(text.as_bytes()).is_some())
    }

    /// Takes a piece and gives what can go on: all but an end that may be the beginning of a secret.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(piece);
        self.mask(&mut bytes);
        self.held = bytes.split_off(bytes.len() - self.begun(&bytes));
        bytes
    }

    /// What was held back, at the end of the body.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn mask(&self, bytes: &mut [u8]) {
        for form in &self.forms {
            let mut from = 0;
            while let Some(at) = form.find(&bytes[from..]) {
                let (begin, end) = (from + at, from + at + form.needle().len());
                bytes[begin..end].fill(b'*');
                from = end;
            }
        }
    }

    /// How many bytes of the end may be the beginning of a secret.
    fn begun(&self, bytes: &[u8]) -> usize {
        let longest =
            |needle: &[u8]| (1..needle.len().min(bytes.len() + 1)).rev().find(|length| bytes.ends_with(&needle[..*length]));
        self.forms.iter().filter_map(|form| longest(form.needle())).max().unwrap_or(0)
    }
}

fn forms(secret: &str) -> [Vec<u8>; 4] {
    let percent = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => vec![byte],
        other => format!("%{other:02X}").into_bytes(),
    };
    let json = serde_json::to_string(secret).unwrap_or_default();
    [
        secret.into(),
        BASE64.encode(secret.as_bytes()).trim_end_matches('=').into(),
        secret.bytes().flat_map(percent).collect(),
        json.get(1..json.len().saturating_sub(1)).unwrap_or_default().into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes on of pieces.
    fn redact<'a>(secrets: &[&str], pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut redactor = Redactor::new(secrets.iter().copied());
        let mut said: Vec<u8> = pieces.into_iter().flat_map(|piece| redactor.push(piece)).collect();
        said.extend(redactor.finish());
        String::from_utf8(said).unwrap()
    }

    #[test]
    fn a_secret_is_masked_wherever_it_is_cut() {
        let text = b"a hunter2-hunter2 b hunter2-hunter2hunter2-hunter2 hunter2-hunter";
        let expected = "a *************** b ****************************** hunter2-hunter";
        for size in 1..=text.len() {
            assert_eq!(redact(&["hunter2-hunter2"], text.chunks(size)), expected, "pieces of {size}");
        }
    }

    #[test]
    fn the_forms_in_which_servers_repeat_it_are_masked() {
        let secret = "user:p/ss \"word\"";
        for form in [secret, "dXNlcjpwL3NzICJ3b3JkIg", "user%3Ap%2Fss%20%22word%22", "user:p/ss \\\"word\\\""] {
            assert_eq!(redact(&[secret], [form.as_bytes()]), "*".repeat(form.len()), "{form}");
        }
    }

    #[test]
    fn a_longer_secret_is_masked_whole() {
        assert_eq!(redact(&["abcdefgh", "xxabcdefghxx"], [b"-xxabcdefghxx-".as_slice()]), "-************-");
    }

    #[test]
    fn what_holds_no_secret_is_not_held_back() {
        let mut redactor = Redactor::new(["hunter2-hunter2"]);
        assert_eq!(redactor.push(b"data: 1\n\n"), b"data: 1\n\n");
        assert_eq!(redactor.push(b"data: hun"), b"data: ");
        assert_eq!(redactor.push(b"gry"), b"hungry");
        assert!(redactor.finish().is_empty());
    }

    #[test]
    fn texts_that_hold_a_secret_are_found() {
        let redactor = Redactor::new(["hunter2-hunter2"]);
        assert!(redactor.finds("Bearer hunter2-hunter2") && !redactor.finds("Bearer hunter2"));
    }
}
