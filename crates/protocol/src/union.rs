//! Types that are a text or an object in JSON.
//!
//! serde's untagged enums try one variant after the other, and forget what was wrong with each.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::decode::TAKES;

/// Reads a text, or an object as an `O`. `takes` says what the type takes; it is the error where one of the two makes no value.
pub(crate) fn text_or_object<'de, D: Deserializer<'de>, O: Deserialize<'de>, T>(
    deserializer: D,
    takes: &'static str,
    text: impl FnOnce(String) -> Option<T>,
    object: impl FnOnce(O) -> Option<T>,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(Union { takes, text, object, kind: PhantomData })
}

struct Union<X, Y, O> {
    takes: &'static str,
    text: X,
    object: Y,
    kind: PhantomData<O>,
}

impl<'de, X: FnOnce(String) -> Option<T>, Y: FnOnce(O) -> Option<T>, O: Deserialize<'de>, T> Visitor<'de> for Union<X, Y, O> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.takes)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<T, E> {
        let refused = || E::custom(format_args!("{TAKES}{}", self.takes));
        (self.text)(text).ok_or_else(refused)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        let refused = || de::Error::custom(format_args!("{TAKES}{}", self.takes));
        (self.object)(O::deserialize(MapAccessDeserializer::new(map))?).ok_or_else(refused)
    }
}
