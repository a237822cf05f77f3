//! Why a call failed, in a form that a Worker's handlers pass on.

use std::{fmt, ops::Deref};

use cabana_protocol::{Code, Error as CodedError};
use worker::Response;

use crate::{RequestId, reply};

/// What a fallible call of this crate answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed: the coded error of the protocol, in a type that `?` takes from [`worker::Error`] and turns into one.
///
/// Branch on its [`code`](CodedError::code), or on [`Error::reason`]. [`respond`] makes a response of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(CodedError);

impl Error {
    /// An error with this code and message, for handlers that refuse a request themselves.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(CodedError::new(code, message))
    }

    /// The word that tells apart the causes of one code, for instance `no_such_file`.
    pub fn reason(&self) -> Option<&str> {
        self.0.details.as_ref()?.get("reason")?.as_str()
    }

    /// True where it is not known whether the request was carried out: the connection broke.
    pub fn is_ambiguous(&self) -> bool {
        self.0.code == Code::Interrupted
    }

    /// The response for a caller: the status of its code, the body `{"error": …, "request_id": …}`, and `Retry-After` where a repeat may help.
    /// What an `internal` error says goes into the log, and not to the caller.
    pub fn into_response(self) -> Response {
        reply::error(&self.0, &RequestId::adopt(None))
    }
}

impl Deref for Error {
    type Target = CodedError;

    fn deref(&self) -> &CodedError {
        &self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for Error {}

impl From<CodedError> for Error {
    fn from(error: CodedError) -> Self {
        Self(error)
    }
}

impl From<Error> for CodedError {
    fn from(error: Error) -> Self {
        error.0
    }
}

impl From<worker::Error> for Error {
    /// What the runtime refuses is a defect: the handler's, or ours.
    fn from(error: worker::Error) -> Self {
        Self(CodedError::internal(error.to_string()))
    }
}

impl From<Error> for worker::Error {
    /// Keeps the message alone. In a handler, [`respond`] keeps the status, too.
    fn from(error: Error) -> Self {
        Self::RustError(error.0.message)
    }
}

/// Answers a request of a handler: an error becomes its response, see [`Error::into_response`].
///
/// ```
/// # use cabana::{Result, Sandbox};
/// # use worker::{Context, Env, Request, Response, event};
/// #[event(fetch)]
/// async fn fetch(request: Request, env: Env, _: Context) -> worker::Result<Response> {
///     cabana::respond(answer(request, env)).await
/// }
///
/// async fn answer(_: Request, env: Env) -> Result<Response> {
///     let output = Sandbox::get(&env, "my-id")?.exec("uname -a").await?;
///     Ok(Response::ok(output.stdout.to_string())?)
/// }
/// # fn main() {}
/// ```
pub async fn respond(answer: impl Future<Output = Result<Response>>) -> worker::Result<Response> {
    Ok(answer.await.unwrap_or_else(Error::into_response))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does what `?` does in a handler.
    fn passed_on(error: CodedError) -> worker::Result<()> {
        Err(Error::from(error))?
    }

    #[test]
    fn errors_pass_both_ways_by_the_question_mark() {
        let error = passed_on(CodedError::not_found("there is no such sandbox")).unwrap_err();
        assert_eq!(error.to_string(), "there is no such sandbox");
        let back = Error::from(error);
        assert_eq!((back.code, back.message.as_str()), (Code::Internal, "there is no such sandbox"));
    }

    #[test]
    fn an_error_tells_its_reason_and_whether_it_is_ambiguous() {
        let error = Error::from(CodedError::new(Code::NotFound, "no").because("no_such_file"));
        assert_eq!((error.reason(), error.is_ambiguous()), (Some("no_such_file"), false));
        assert!(Error::new(Code::Interrupted, "the connection broke").is_ambiguous());
        assert_eq!(Error::new(Code::Conflict, "taken").reason(), None);
    }
}
