//! Bytes in JSON.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::union::text_or_object;

/// Bytes that read as a string where they are UTF-8, and as `{"base64": "…"}` where they are not. Nothing is re-encoded,
/// replaced or trimmed: what went in comes out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Data(pub Bytes);

impl Data {
    /// Cuts a piece of a longer text where a character may be split over two pieces: the tail and head of such a
    /// character stand alone, so that everything between stays readable. Yields the input's bytes in order.
    ///
    /// Without it one emoji on the edge of a 64 KiB read would turn the whole piece into base64.
    pub fn runs(bytes: Bytes) -> impl Iterator<Item = Data> {
        if std::str::from_utf8(&bytes).is_ok() {
            return [bytes, Bytes::new(), Bytes::new()].into_iter().filter(filled).map(Data);
        }
        let head = continuation_bytes(&bytes);
        let tail = match std::str::from_utf8(&bytes[head..]) {
            Ok(_) => bytes.len(),
            Err(error) if error.error_len().is_none() => head + error.valid_up_to(),
            // Not text at all: one piece of base64 is smaller than many.
            Err(_) => return [bytes, Bytes::new(), Bytes::new()].into_iter().filter(filled).map(Data),
        };
        [bytes.slice(..head), bytes.slice(head..tail), bytes.slice(tail..)].into_iter().filter(filled).map(Data)
    }
}

fn filled(bytes: &Bytes) -> bool {
    !bytes.is_empty()
}

/// How many bytes at the start can only be the end of a character that began earlier: at most 3.
fn continuation_bytes(bytes: &[u8]) -> usize {
    bytes.iter().take(3).take_while(|byte| **byte & 0b1100_0000 == 0b1000_0000).count()
}

impl Data {
    /// Undoes padded base64.
    pub(crate) fn decode(base64: &[u8]) -> Option<Self> {
        BASE64.decode(base64).ok().map(Self::from)
    }
}

impl fmt::Display for Data {
    /// As text, for people: what is no UTF-8 is replaced.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Base64<'a> {
    base64: Cow<'a, str>,
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Base64 { base64: BASE64.encode(&self.0).into() }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let takes = "a string or {\"base64\": \"…\"}, which is padded base64 (RFC 4648, section 4)";
        text_or_object(deserializer, takes, |text| Some(Self(text.into())), |Base64 { base64 }| Self::decode(base64.as_bytes()))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Data {
    fn schema_name() -> Cow<'static, str> {
        "Data".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Bytes: a string where they are UTF-8, else {\"base64\": \"…\"}.",
            "anyOf": [
                { "type": "string" },
                { "type": "object", "properties": { "base64": { "type": "string" } }, "required": ["base64"] },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(bytes: &'static [u8]) -> String {
        serde_json::to_string(&Data(Bytes::from_static(bytes))).unwrap()
    }

    #[test]
    fn every_byte_string_survives_json() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in [b"".as_slice(), b"plain\n", b"\0\x01\x1f\"\\", "h\u{e9}llo \u{1f30a}".as_bytes(), b"\xff\xfe", &all] {
            let data = Data::from(bytes.to_vec());
            let back: Data = serde_json::from_str(&serde_json::to_string(&data).unwrap()).unwrap();
            assert_eq!(back, data);
        }
    }

    #[test]
    fn text_reads_as_text_and_the_rest_as_base64() {
        assert_eq!(json(b"hi\n"), r#""hi\n""#);
        assert_eq!(json(b"\xff"), r#"{"base64":"/w=="}"#);
    }

    #[test]
    fn a_split_character_leaves_its_neighbours_readable() {
        let wave = "a\u{1f30a}b".as_bytes();
        for cut in 1..wave.len() {
            let (left, right) = wave.split_at(cut);
            let runs: Vec<Data> = [left, right].into_iter().flat_map(|piece| Data::runs(Bytes::copy_from_slice(piece))).collect();
            assert_eq!(runs.iter().flat_map(|run| run.0.to_vec()).collect::<Vec<_>>(), wave);
            assert!(runs.first().unwrap().0.starts_with(b"a"));
            assert!(runs.last().unwrap().0.ends_with(b"b"));
            assert!(runs.iter().filter(|run| std::str::from_utf8(&run.0).is_err()).all(|run| run.0.len() <= 3));
        }
    }

    #[test]
    fn binary_stays_in_one_piece() {
        let binary = Bytes::from_static(b"\x7fELF\xff\xff\xff rest");
        assert_eq!(Data::runs(binary.clone()).collect::<Vec<_>>(), [Data(binary)]);
        assert_eq!(Data::runs(Bytes::new()).count(), 0);
    }

    #[test]
    fn neither_numbers_nor_broken_base64_are_bytes() {
        for bad in ["1", "null", r#"{"base64":"!"}"#, r#"{"text":"x"}"#] {
            assert!(serde_json::from_str::<Data>(bad).is_err(), "{bad}");
        }
    }
}
