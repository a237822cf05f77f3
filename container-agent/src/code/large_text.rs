//! The text of a large `stream` message, while its JSON comes: a kernel collects what is printed, and may send 20 MB as one string.

/// Reads an object with the fields `name` and `text`, both strings, from pieces of any size.
#[derive(Debug, Default)]
pub(super) struct LargeText {
    place: Place,
    /// The next string at the top is a field's name.
    names_field: bool,
    key: Vec<u8>,
    name: Vec<u8>,
    text: Vec<u8>,
    /// The first half of a character that takes two escapes.
    surrogate: Option<u16>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Between,
    In,
    Escape,
    /// Of so many digits of an escape, this number.
    Unicode(u8, u16),
}

impl LargeText {
    /// Reads a piece.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.place = self.step(*byte);
        }
    }

    /// Whether it is standard error.
    pub(super) fn is_stderr(&self) -> bool {
        self.name == b"stderr"
    }

    /// The text that has come since the last call, up to a character that has not come whole.
    pub(super) fn take(&mut self) -> String {
        let whole = match std::str::from_utf8(&self.text) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.text.len(),
        };
        let rest = self.text.split_off(whole);
        String::from_utf8_lossy(&std::mem::replace(&mut self.text, rest)).into_owned()
    }

    fn step(&mut self, byte: u8) -> Place {
        match (self.place, byte) {
            (Place::Between, b'"') => {
                if self.names_field {
                    self.key.clear();
                }
                Place::In
            }
            (Place::Between, b'{' | b',') => {
                self.names_field = true;
                Place::Between
            }
            (Place::Between, b':') => {
                self.names_field = false;
                Place::Between
            }
            (Place::Between, _) | (Place::In, b'"') => Place::Between,
            (Place::In, b'\\') => Place::Escape,
            (Place::In, byte) => {
                self.put(&[byte]);
                Place::In
            }
            (Place::Escape, b'u') => Place::Unicode(0, 0),
            (Place::Escape, byte) => {
                self.put(&[match byte {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'b' => 8,
                    b'f' => 12,
                    other => other,
                }]);
                Place::In
            }
            (Place::Unicode(digits, number), byte) => {
                let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok()).unwrap_or_default();
                let number = number << 4 | digit;
                if digits < 3 {
                    return Place::Unicode(digits + 1, number);
                }
                self.put_unit(number);
                Place::In
            }
        }
    }

    fn put_unit(&mut self, unit: u16) {
        let units = [self.surrogate.take().unwrap_or(unit), unit];
        if (0xd800..0xdc00).contains(&unit) {
            self.surrogate = Some(unit);
            return;
        }
        let units = if units[0] == unit { &units[1..] } else { &units[..] };
        let text = String::from_utf16_lossy(units);
        self.put(text.as_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        let (field, limit) = match (self.names_field, self.key.as_slice()) {
            (true, _) => (&mut self.key, 64),
            (false, b"name") => (&mut self.name, 64),
            (false, b"text") => (&mut self.text, usize::MAX),
            (false, _) => return,
        };
        if field.len() < limit {
            field.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_a_parser_of_json_would_find_however_it_is_cut() {
        let text = "line\n\t\"quoted\" \\ é 🌊 \u{1} end";
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        for json in [
            serde_json::json!({ "name": "stderr", "text": text }).to_string(),
            format!(r#"{{ "name" : "stderr", "text":"{escaped}" }}"#),
            format!(r#"{{"other":7,"name":"stderr","text":"{escaped}","more":"\"text\""}}"#),
        ] {
            for size in [1, 2, 3, 7, json.len()] {
                let (mut large, mut found) = (LargeText::default(), String::new());
                for piece in json.as_bytes().chunks(size) {
                    large.feed(piece);
                    found += &large.take();
                }
                assert_eq!((found.as_str(), large.is_stderr()), (text, true), "{json} in pieces of {size}");
            }
        }
    }
}
