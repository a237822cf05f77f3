//! The D1 database of a deployment: the one file that knows D1.

use std::{cell::Cell, pin::pin, rc::Rc, time::Duration};

use cabana_protocol::{Code, Error};
use futures_util::future::{self, Either};
use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;
use worker::{D1Database, D1PreparedStatement, Delay, Env};

use crate::{log, rows};

/// How long the database may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The database bound as [`Database::BINDING`]. What is in it is made by `worker/migrations`.
#[derive(Debug, Clone)]
pub struct Database {
    d1: Rc<D1Database>,
    queries: Rc<Cell<u32>>,
}

/// A statement of SQL with the values of its parameters. Pure, so that whoever makes one can be tested.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// With a `?` for each value.
    pub sql: String,
    /// In the order of the parameters.
    pub values: Vec<Value>,
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A number; whole ones are exact up to 2⁵³.
    Number(f64),
    /// Text.
    Text(String),
}

impl Database {
    /// The name of the binding in wrangler.jsonc.
    pub const BINDING: &'static str = "DIRECTORY";

    /// The deployment's database; `None` where none is bound, which a Worker may well do without.
    pub fn of(env: &Env) -> Option<Self> {
        Self::bound_as(env, Self::BINDING)
    }

    /// The database of this binding, if there is one.
    pub(crate) fn bound_as(env: &Env, binding: &str) -> Option<Self> {
        let d1 = env.d1(binding).ok()?;
        Some(Self { d1: Rc::new(d1), queries: Rc::default() })
    }

    /// The deployment's database. Fails with `not_implemented` where none is bound.
    pub fn get(env: &Env) -> Result<Self, Error> {
        let missing = || Error::new(Code::NotImplemented, format!("no D1 database is bound as {}", Self::BINDING));
        Self::of(env).ok_or_else(missing)
    }

    /// How often this value and its clones were asked so far.
    pub fn queries(&self) -> u32 {
        self.queries.get()
    }

    /// Carries a statement out and returns its rows, as objects by column.
    ///
    /// Fails with `timeout` after 10 s, when it may or may not have been carried out, and with `unavailable`.
    pub async fn query<T: DeserializeOwned>(&self, statement: &Statement) -> Result<Vec<T>, Error> {
        let prepared = self.prepare(statement)?;
        rows::read(in_time(async { prepared.all().await.and_then(|found| found.results()) }).await?).map_err(failed)
    }

    /// Carries out all of the statements, in their order, or none, and returns how many rows each has changed.
    ///
    /// Fails as [`Self::query`].
    pub async fn execute(&self, statements: &[Statement]) -> Result<Vec<usize>, Error> {
        let prepared = statements.iter().map(|statement| self.prepare(statement)).collect::<Result<_, _>>()?;
        let results = in_time(self.d1.batch(prepared)).await?;
        let changes = |meta: Option<worker::d1::D1ResultMeta>| meta.and_then(|meta| meta.changes).unwrap_or_default();
        results.iter().map(|result| result.meta().map(changes).map_err(failed)).collect()
    }

    fn prepare(&self, statement: &Statement) -> Result<D1PreparedStatement, Error> {
        self.queries.set(self.queries.get() + 1);
        let values: Vec<_> = statement.values.iter().map(JsValue::from).collect();
        self.d1.prepare(&statement.sql).bind(&values).map_err(failed)
    }
}

impl Statement {
    /// A statement with the values of its parameters.
    pub fn new(sql: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Self {
        Self { sql: sql.into(), values: values.into_iter().collect() }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number as f64)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<&Value> for JsValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Number(number) => Self::from_f64(*number),
            Value::Text(text) => Self::from_str(text),
        }
    }
}

async fn in_time<T>(work: impl Future<Output = worker::Result<T>>) -> Result<T, Error> {
    match future::select(pin!(work), pin!(Delay::from(TIMEOUT))).await {
        Either::Left((outcome, _)) => outcome.map_err(failed),
        Either::Right(_) => Err(Error::new(Code::Timeout, "the directory's database does not answer")),
    }
}

fn failed(error: worker::Error) -> Error {
    log::error(None, &format!("the directory's database failed: {error}"));
    Error::new(Code::Unavailable, "the directory's database cannot be used at the moment")
}
