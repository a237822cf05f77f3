//! An answer of the service or the agent.

use cabana_protocol::error::ErrorBody;
use reqwest::{Response, StatusCode, header::HeaderMap};
use serde_json::Value;

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// Reads an answer. A failure that came late, behind blanks, has the status of its code.
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes: Vec<u8> = response.bytes().await.unwrap().into();
        let late = ErrorBody::late(&bytes).and_then(|late| StatusCode::from_u16(late.error.code.status()).ok());
        Self { status: late.unwrap_or(status), headers, bytes }
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.bytes)))
    }

    /// The status, and the body as JSON; null where there is none.
    pub fn parts(&self) -> (StatusCode, Value) {
        (self.status, serde_json::from_slice(&self.bytes).unwrap_or_default())
    }

    /// A header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, of an answer that must be a success.
    pub fn success(self) -> Vec<u8> {
        assert!(self.status.is_success(), "{}: {}", self.status, String::from_utf8_lossy(&self.bytes));
        self.bytes
    }

    /// The error's code, once its shape and status are what they must be.
    pub fn code(&self) -> String {
        let body = self.json();
        let error: cabana_protocol::Error = serde_json::from_value(body["error"].clone()).unwrap();
        assert_eq!(error.code.status(), self.status.as_u16(), "{body}");
        assert!(!error.message.is_empty() && body["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{body}");
        body["error"]["code"].as_str().unwrap().to_owned()
    }
}
