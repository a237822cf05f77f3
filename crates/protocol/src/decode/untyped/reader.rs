//! Reading a type from a node: serde's view of a value.

use std::{borrow::Cow, marker::PhantomData, vec};

use serde::{
    Deserializer,
    de::{
        self, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor, value::StrDeserializer,
    },
};

use super::Node;
use crate::decode::fault::{Came, Fault, Segment};

/// Reads a type from a node.
pub(super) struct Reader<'a> {
    pub(super) node: Node<'a>,
    /// Whether a field that a type does not know is a fault.
    pub(super) is_strict: bool,
}

impl<'a> Reader<'a> {
    fn object<V: Visitor<'a>>(self, visitor: V, known: Option<&'static [&'static str]>) -> Result<V::Value, Fault> {
        match self.node {
            Node::Object(fields) => visitor.visit_map(Fields::new(fields, known.filter(|_| self.is_strict), self.is_strict)),
            other => Err(mismatch(&other, &visitor)),
        }
    }

    fn array<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node {
            Node::Array(nodes) => visitor.visit_seq(Items { nodes: nodes.into_iter(), index: 0, is_strict: self.is_strict }),
            other => Err(mismatch(&other, &visitor)),
        }
    }

    fn number<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node {
            Node::Unsigned(number) => visitor.visit_u64(number),
            Node::Signed(number) => visitor.visit_i64(number),
            Node::Float(number) => visitor.visit_f64(number),
            other => Err(mismatch(&other, &visitor)),
        }
    }

    fn text<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node {
            Node::Text(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Node::Text(Cow::Owned(text)) => visitor.visit_string(text),
            other => Err(mismatch(&other, &visitor)),
        }
    }
}

/// The fault of a value that is of another type. It does not repeat the value.
fn mismatch(node: &Node<'_>, expected: &dyn de::Expected) -> Fault {
    let came = match node {
        Node::Null => de::Unexpected::Unit,
        Node::Bool(_) => de::Unexpected::Other("a boolean"),
        Node::Unsigned(_) | Node::Signed(_) | Node::Float(_) => de::Unexpected::Other("a number"),
        Node::Text(_) => de::Unexpected::Other("a string"),
        Node::Array(_) => de::Unexpected::Seq,
        Node::Object(_) => de::Unexpected::Map,
    };
    de::Error::invalid_type(came, expected)
}

/// Those methods of a deserializer that take a visitor alone and leave it to this method of the reader.
macro_rules! read {
    ($($method:ident)* => $reads:ident) => {
        $(fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.$reads(visitor)
        })*
    };
}

impl<'a> Deserializer<'a> for Reader<'a> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(value),
            Node::Unsigned(_) | Node::Signed(_) | Node::Float(_) => self.number(visitor),
            Node::Text(_) => self.text(visitor),
            Node::Array(_) => self.array(visitor),
            Node::Object(_) => self.object(visitor, None),
        }
    }

    read!(deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_f32 deserialize_f64 => number);
    read!(deserialize_str deserialize_string deserialize_identifier => text);
    read!(deserialize_seq => array);
    read!(deserialize_i128 deserialize_u128 deserialize_char deserialize_bytes deserialize_byte_buf deserialize_unit => deserialize_any);

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node {
            Node::Bool(value) => visitor.visit_bool(value),
            other => Err(mismatch(&other, &visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node {
            Node::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.object(visitor, None)
    }

    // serde would take an array, too, field by field.
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.object(visitor, Some(fields))
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.node {
            Node::Text(word) => visitor.visit_enum::<StrDeserializer<'_, Fault>>(word.as_ref().into_deserializer()),
            Node::Object(fields) => visitor.visit_enum(Variant(Fields::new(fields, None, self.is_strict))),
            other => Err(mismatch(&other, &visitor)),
        }
        .map_err(|fault| fault.among(words))
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.array(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(self, _: &'static str, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.array(visitor)
    }
}

/// The items of an array.
struct Items<'a> {
    nodes: vec::IntoIter<Node<'a>>,
    index: usize,
    is_strict: bool,
}

impl<'a> SeqAccess<'a> for Items<'a> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.nodes.next() else { return Ok(None) };
        let (came, index) = (node.came(), self.index);
        self.index += 1;
        let item = seed.deserialize(Reader { node, is_strict: self.is_strict });
        item.map(Some).map_err(|fault| fault.within(Segment::Item(index), Some(came)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.nodes.len())
    }
}

/// The fields of an object.
struct Fields<'a> {
    nodes: vec::IntoIter<(Cow<'a, str>, Node<'a>)>,
    /// The fields that there may be, where others are a fault.
    known: Option<&'static [&'static str]>,
    /// The one that is read.
    next: Option<(Cow<'a, str>, Node<'a>)>,
    is_strict: bool,
}

impl<'a> Fields<'a> {
    fn new(nodes: Vec<(Cow<'a, str>, Node<'a>)>, known: Option<&'static [&'static str]>, is_strict: bool) -> Self {
        Self { nodes: nodes.into_iter(), known, next: None, is_strict }
    }

    /// The field that is read: its name, what it is, and its reader.
    fn take(&mut self) -> Result<(Cow<'a, str>, Came, Reader<'a>), Fault> {
        let Some((name, node)) = self.next.take() else { return Err(de::Error::custom("a value is read before its name")) };
        Ok((name, node.came(), Reader { node, is_strict: self.is_strict }))
    }

    /// The name of the next field.
    fn advance(&mut self) -> Result<Option<&str>, Fault> {
        self.next = self.nodes.next();
        let Some((name, _)) = &self.next else { return Ok(None) };
        match self.known {
            Some(known) if !known.contains(&name.as_ref()) => Err(de::Error::unknown_field(name, known)),
            _ => Ok(Some(name)),
        }
    }
}

impl<'a> MapAccess<'a> for Fields<'a> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some(name) = self.advance()? else { return Ok(None) };
        seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(name)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let (name, came, reader) = self.take()?;
        match seed.deserialize(reader) {
            Ok(value) => Ok(value),
            Err(fault) => Err(fault.within(Segment::Field(name.into_owned()), Some(came))),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.nodes.len())
    }
}

/// An object whose one field is the word.
struct Variant<'a>(Fields<'a>);

impl<'a> Variant<'a> {
    fn only<T: DeserializeSeed<'a>>(mut self, seed: T) -> Result<T::Value, Fault> {
        let value = self.0.next_value_seed(seed)?;
        match self.0.advance()? {
            Some(second) => Err(de::Error::unknown_field(second, &[])),
            None => Ok(value),
        }
    }
}

impl<'a> EnumAccess<'a> for Variant<'a> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<K: DeserializeSeed<'a>>(mut self, seed: K) -> Result<(K::Value, Self), Fault> {
        let none = || de::Error::invalid_type(de::Unexpected::Map, &"an object of one field");
        let word = self.0.next_key_seed(seed)?.ok_or_else(none)?;
        Ok((word, self))
    }
}

impl<'a> VariantAccess<'a> for Variant<'a> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        self.only(PhantomData)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, Fault> {
        self.only(seed)
    }

    fn tuple_variant<V: Visitor<'a>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.only(Content { visitor, fields: None, length })
    }

    fn struct_variant<V: Visitor<'a>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.only(Content { visitor, fields: Some(fields), length: 0 })
    }
}

/// What belongs to the word.
struct Content<V> {
    visitor: V,
    fields: Option<&'static [&'static str]>,
    length: usize,
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Content<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        match self.fields {
            Some(fields) => deserializer.deserialize_struct("", fields, self.visitor),
            None => deserializer.deserialize_tuple(self.length, self.visitor),
        }
    }
}
