//! A JSON value that has been parsed, and how a type is read from it.
//!
//! serde compiles the code of a type once for each deserializer that it is read by, and a Worker reads a hundred types. This is the one
//! deserializer for all of them. Its other purpose is to name what a request holds that its type does not know: serde's derived code
//! names a struct's fields to the deserializer, and there is no crate that makes use of the names.

mod reader;

use std::{borrow::Cow, cell::Cell, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::fault::{Came, Fault};
use crate::Error;
use reader::Reader;

/// A JSON value whose type is still to be said. Objects keep their fields in order, and those that are there twice.
#[derive(Debug, Clone)]
pub struct Untyped<'a>(Node<'a>);

#[derive(Debug, Clone)]
enum Node<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// Why there is no value.
pub(super) enum NotParsed {
    NotJson(serde_json::Error),
    /// Something comes after the value.
    Followed,
    TooManyValues,
}

impl<'a> Untyped<'a> {
    /// Parses JSON of at most `most` values.
    pub(super) fn parse(json: &'a [u8], most: usize) -> Result<Self, NotParsed> {
        let left = Cell::new(most);
        let mut parser = serde_json::Deserializer::from_slice(json);
        let node = Parsing { left: &left }.deserialize(&mut parser).map_err(|error| match left.get() {
            0 => NotParsed::TooManyValues,
            _ => NotParsed::NotJson(error),
        })?;
        parser.end().map_err(|_| NotParsed::Followed)?;
        Ok(Self(node))
    }

    /// Reads a request: a field that the type does not know is a fault.
    pub(super) fn into_request<T: DeserializeOwned>(self) -> Result<T, Fault> {
        self.read_as(true)
    }

    /// Reads what the service itself has written. A field that the type does not know is left out: a newer version may have written it.
    ///
    /// Fails with `invalid_request`.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, Error> {
        self.read_as(false).map_err(Fault::into_error)
    }

    fn read_as<T: DeserializeOwned>(self, is_strict: bool) -> Result<T, Fault> {
        let came = self.0.came();
        T::deserialize(Reader { node: self.0, is_strict }).map_err(|fault| fault.outermost(Some(came)))
    }
}

impl Untyped<'_> {
    /// The same without what it borrows.
    pub fn into_owned(self) -> Untyped<'static> {
        Untyped(self.0.into_owned())
    }
}

impl From<Value> for Untyped<'_> {
    fn from(value: Value) -> Self {
        Self(Node::from(value))
    }
}

impl<'de> Deserialize<'de> for Untyped<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Parsing { left: &Cell::new(usize::MAX) }.deserialize(deserializer).map(Self)
    }
}

impl From<Value> for Node<'_> {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => Self::Unsigned(number),
                (None, Some(number)) => Self::Signed(number),
                (None, None) => Self::Float(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => Self::Text(text.into()),
            Value::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            Value::Object(fields) => Self::Object(fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect()),
        }
    }
}

impl Node<'_> {
    fn into_owned(self) -> Node<'static> {
        let text = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Null => Node::Null,
            Self::Bool(value) => Node::Bool(value),
            Self::Unsigned(number) => Node::Unsigned(number),
            Self::Signed(number) => Node::Signed(number),
            Self::Float(number) => Node::Float(number),
            Self::Text(content) => Node::Text(text(content)),
            Self::Array(items) => Node::Array(items.into_iter().map(Node::into_owned).collect()),
            Self::Object(fields) => {
                Node::Object(fields.into_iter().map(|(name, value)| (text(name), value.into_owned())).collect())
            }
        }
    }

    fn came(&self) -> Came {
        match self {
            Self::Null => Came::Null,
            Self::Bool(_) => Came::Bool,
            Self::Unsigned(_) | Self::Signed(_) | Self::Float(_) => Came::Number,
            Self::Text(_) => Came::Text,
            Self::Array(_) => Came::Array,
            Self::Object(_) => Came::Object,
        }
    }
}

/// Makes a node of whatever comes.
#[derive(Clone, Copy)]
struct Parsing<'s> {
    /// How many values there may still be.
    left: &'s Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Parsing<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| de::Error::custom("too many values"))?;
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Parsing<'_> {
    type Value = Node<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(u64::try_from(value).map_or(Node::Signed(value), Node::Unsigned))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(value.to_owned().into()))
    }

    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(value.into()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Node<'de>, E> {
        Ok(Node::Text(value.into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node<'de>, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = items.next_element_seed(self)? {
            nodes.push(node);
        }
        Ok(Node::Array(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Node<'de>, A::Error> {
        let mut nodes = Vec::new();
        while let Some(name) = fields.next_key_seed(Name)? {
            nodes.push((name, fields.next_value_seed(self)?));
        }
        Ok(Node::Object(nodes))
    }
}

/// The name of a field, which is copied only where it is written with escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(name.to_owned().into())
    }

    fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(name.into())
    }

    fn visit_string<E: de::Error>(self, name: String) -> Result<Cow<'de, str>, E> {
        Ok(name.into())
    }
}
