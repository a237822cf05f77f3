//! What is wrong with a request, in the words of its sender: a field, what it takes, and what came.
//!
//! Text of the request is never repeated, because it may be a secret: only names of fields, words where a word of a list was expected, and
//! numbers where a number was.

use std::{borrow::Cow, fmt};

use serde::de::{self, Expected, Unexpected};
use serde_json::{Value, json};

use crate::{
    Error,
    names::{nearest, quoted, shown},
};

/// Begins the message of a type that says what it takes, and not what is wrong.
pub(crate) const TAKES: &str = "takes ";

/// What is wrong, and where. Boxed, because the code that reads a type hands it on after each field.
#[derive(Debug)]
pub(super) struct Fault(Box<Parts>);

#[derive(Debug)]
struct Parts {
    /// From the innermost to the outermost.
    path: Vec<Segment>,
    problem: Problem,
    came: Option<Came>,
}

/// A step from a value to one in it.
#[derive(Debug)]
pub(super) enum Segment {
    Field(String),
    Item(usize),
}

/// A value as it is told of.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Came {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

#[derive(Debug)]
enum Problem {
    Unknown {
        field: String,
        known: &'static [&'static str],
    },
    Missing(&'static str),
    Twice(&'static str),
    /// Another type than the field takes.
    Type(String),
    /// A value that the field does not take, of the right type.
    Value {
        takes: String,
        came: Option<String>,
    },
    Word {
        word: Option<String>,
        words: &'static [&'static str],
    },
    Syntax(String),
    /// In the words of the field's type.
    Told(String),
}

impl Fault {
    fn new(problem: Problem) -> Self {
        Self(Box::new(Parts { path: Vec::new(), problem, came: None }))
    }

    /// What the parser found wrong with the JSON itself.
    pub(super) fn syntax(error: &impl fmt::Display) -> Self {
        Self::new(Problem::Syntax(error.to_string()))
    }

    /// The same, seen from the value that holds the one which is wrong.
    pub(super) fn within(mut self, segment: Segment, came: Option<Came>) -> Self {
        self.0.came = self.0.came.or(came);
        self.0.path.push(segment);
        self
    }

    /// The same where what is wrong is the whole request.
    pub(super) fn outermost(mut self, came: Option<Came>) -> Self {
        self.0.came = self.0.came.or(came);
        self
    }

    /// The same where one of these words was expected and something else came.
    pub(super) fn among(mut self, words: &'static [&'static str]) -> Self {
        if self.0.path.is_empty() && matches!(self.0.problem, Problem::Type(_)) {
            self.0.problem = Problem::Word { word: None, words };
        }
        self
    }

    /// The field of the request that took no text, and whether it takes an array.
    pub(super) fn refused_text(&self) -> Option<(&str, bool)> {
        match (self.0.path.as_slice(), &self.0.problem, &self.0.came) {
            ([Segment::Field(field)], Problem::Type(takes), Some(Came::Text)) => Some((field, takes == "an array")),
            ([Segment::Field(field)], Problem::Told(text), Some(Came::Text)) if text.starts_with(TAKES) => Some((field, false)),
            _ => None,
        }
    }

    /// The path of a field of the value that is wrong, or of that value itself.
    fn place(&self, field: Option<&str>) -> String {
        let mut place = String::new();
        for segment in self.0.path.iter().rev() {
            match segment {
                Segment::Field(name) if place.is_empty() => place.push_str(&shown(name)),
                Segment::Field(name) => place.extend([".", &shown(name)]),
                Segment::Item(index) => place.extend(["[", &index.to_string(), "]"]),
            }
        }
        match field {
            Some(field) if place.is_empty() => shown(field).into_owned(),
            Some(field) => format!("{place}.{}", shown(field)),
            None => place,
        }
    }

    /// What came, to be put behind what was expected.
    fn instead(&self) -> Cow<'static, str> {
        match &self.0.came {
            None => "".into(),
            Some(Came::Null) => ", got null".into(),
            Some(Came::Bool) => ", got a boolean".into(),
            Some(Came::Number) => ", got a number".into(),
            Some(Came::Text) => ", got a string".into(),
            Some(Came::Array) => ", got an array".into(),
            Some(Came::Object) => ", got an object".into(),
        }
    }
}

/// The error for a field that there is none of.
pub(crate) fn unknown_field(field: &str, known: &'static [&'static str]) -> Error {
    <Fault as de::Error>::unknown_field(field, known).into_error()
}

impl Fault {
    /// The error in words.
    pub(super) fn into_error(self) -> Error {
        let fault = self;
        let error = |field: Option<&str>, reason: &str, message: &dyn Fn(&str) -> String| {
            let place = fault.place(field);
            let details = match place.is_empty() {
                true => json!({ "reason": reason }),
                false => json!({ "reason": reason, "field": place }),
            };
            let subject = if place.is_empty() { "the request".to_owned() } else { format!("`{place}`") };
            Error::invalid_request(message(&subject)).with_details(details)
        };
        let takes = |what: &str| error(None, "invalid_field", &|subject| format!("{subject} {TAKES}{what}{}", fault.instead()));
        match &fault.0.problem {
            Problem::Unknown { field, known } => {
                let near = nearest(field, known);
                let unknown = error(Some(field), "unknown_field", &|subject| match near {
                    Some(near) => format!("unknown field {subject}: did you mean `{near}`?"),
                    None if known.is_empty() => format!("unknown field {subject}: none is taken here"),
                    None => format!("unknown field {subject}: the fields are {}", quoted(known, "and")),
                });
                match near {
                    Some(near) => unknown.with_details(json!({ "did_you_mean": near })),
                    None => unknown,
                }
            }
            Problem::Missing(field) => error(Some(field), "missing_field", &|subject| format!("the field {subject} is missing")),
            Problem::Twice(field) => {
                error(Some(field), "duplicate_field", &|subject| format!("the field {subject} is there twice"))
            }
            Problem::Type(what) => takes(what),
            Problem::Value { takes: what, came } => {
                let came = came.as_ref().map(|came| format!(", got {came}")).unwrap_or_default();
                error(None, "invalid_field", &|subject| format!("{subject} {TAKES}{what}{came}"))
            }
            Problem::Word { word: None, words } => takes(&quoted(words, "or")),
            Problem::Word { word: Some(word), words } => error(None, "invalid_field", &|subject| {
                let meant = nearest(word, words).map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
                format!("{subject} {TAKES}{}, got {:?}{meant}", quoted(words, "or"), shown(word))
            }),
            Problem::Syntax(what) => error(None, "invalid_json", &|_| format!("the request is not JSON: {what}")),
            Problem::Told(text) if text.starts_with(TAKES) => takes(&text[TAKES.len()..]),
            Problem::Told(text) if fault.0.path.is_empty() => Error::invalid_request(text.as_str()),
            Problem::Told(text) => error(None, "invalid_field", &|subject| format!("{subject}: {text}")),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.0.problem)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Problem::Told(message.to_string()))
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Problem::Type(takes(&expected.to_string()).into_owned()))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let came = match unexpected {
            Unexpected::Signed(number) => Some(number.to_string()),
            Unexpected::Unsigned(number) => Some(number.to_string()),
            Unexpected::Float(number) => Some(Value::from(number).to_string()),
            _ => None,
        };
        Self::new(Problem::Value { takes: takes(&expected.to_string()).into_owned(), came })
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        let came = Some(format!("an array of {length}"));
        Self::new(Problem::Value { takes: takes(&expected.to_string()).into_owned(), came })
    }

    fn unknown_variant(variant: &str, words: &'static [&'static str]) -> Self {
        Self::new(Problem::Word { word: Some(variant.to_owned()), words })
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::new(Problem::Unknown { field: field.to_owned(), known })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Problem::Missing(field))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(Problem::Twice(field))
    }
}

/// What serde's own visitors expect, without the names of Rust's types.
fn takes(expected: &str) -> Cow<'_, str> {
    let whole = |least: &dyn fmt::Display, most: &dyn fmt::Display| format!("a whole number from {least} to {most}").into();
    match expected {
        "u8" => whole(&u8::MIN, &u8::MAX),
        "u16" => whole(&u16::MIN, &u16::MAX),
        "u32" => whole(&u32::MIN, &u32::MAX),
        "i32" => whole(&i32::MIN, &i32::MAX),
        "u64" | "usize" => "a whole number from 0".into(),
        "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "an array".into(),
        "a map" => "an object".into(),
        _ if expected.starts_with("struct ") || expected.starts_with("internally tagged enum ") => "an object".into(),
        _ if expected.starts_with("enum ") => "a word".into(),
        _ => expected.strip_prefix(TAKES).unwrap_or(expected).into(),
    }
}
