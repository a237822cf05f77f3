//! JSON in the value of an HTTP header.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, decode_own};

/// The value as JSON in printable ASCII: other characters are escaped, as JSON allows.
pub fn encode(value: &impl Serialize) -> serde_json::Result<String> {
    let json = serde_json::to_string(value)?;
    let escape = |char: char| match char {
        ' '..='~' => String::from(char),
        other => other.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    Ok(json.chars().map(escape).collect())
}

/// Undoes [`encode`]. Fails with `invalid_request`.
pub fn decode<T: DeserializeOwned>(header: &str) -> Result<T, Error> {
    decode_own(header.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives() {
        for text in ["", "a b", "Zo\u{eb} \u{1f980}\n\"x\"\0\u{7f}"] {
            let header = encode(&text).unwrap();
            assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{header}");
            assert_eq!(decode::<String>(&header).unwrap(), text);
        }
    }
}
