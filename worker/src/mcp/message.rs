//! One JSON-RPC message of the Model Context Protocol, in either of its eras. Pure.
//!
//! A request says by itself which era it belongs to: since 2026-07-28 each one carries its version in `_meta` and in headers, and there is no
//! handshake. Requests of earlier versions begin with `initialize`. Nothing is kept between two requests of either era.
//! Source: the specifications 2026-07-28 and 2025-11-25, "Streamable HTTP".

use std::borrow::Cow;

use data_encoding::BASE64;
use serde_json::{Map, Value, json};

/// The version without a handshake.
pub(super) const MODERN: &str = "2026-07-28";

/// The versions that begin with `initialize`, the newest first.
pub(super) const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// Where a modern request's `_meta` says its version.
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

/// Where it says what the client is capable of.
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

/// JSON-RPC's own codes, and those of the specification.
pub(super) const PARSE_ERROR: i32 = -32_700;
pub(super) const INVALID_REQUEST: i32 = -32_600;
pub(super) const METHOD_NOT_FOUND: i32 = -32_601;
pub(super) const INVALID_PARAMS: i32 = -32_602;
pub(super) const HEADER_MISMATCH: i32 = -32_020;
pub(super) const UNSUPPORTED_VERSION: i32 = -32_022;

/// The headers that mirror the body.
#[derive(Debug, Clone, Default)]
pub(super) struct Mirror {
    /// `MCP-Protocol-Version`
    pub(super) version: Option<String>,
    /// `Mcp-Method`
    pub(super) method: Option<String>,
    /// `Mcp-Name`
    pub(super) name: Option<String>,
}

/// The rules that a request follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    /// [`MODERN`].
    Modern,
    /// One of [`LEGACY`].
    Legacy,
}

/// What came.
#[derive(Debug, PartialEq)]
pub(super) enum Incoming {
    /// Wants an answer.
    Request(Request),
    /// Wants none: a notification, or the answer to a request that was never made.
    Other,
}

/// A request.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) id: Value,
    pub(super) method: String,
    pub(super) params: Map<String, Value>,
    pub(super) era: Era,
}

/// An error of the protocol: an HTTP status and a JSON-RPC error.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) status: u16,
    pub(super) id: Value,
    pub(super) code: i32,
    pub(super) message: String,
    pub(super) data: Option<Value>,
}

impl Fault {
    pub(super) fn new(status: u16, id: Value, code: i32, message: impl Into<String>) -> Self {
        Self { status, id, code, message: message.into(), data: None }
    }

    /// The message that tells it.
    pub(super) fn to_json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (Some(data), Some(error)) = (&self.data, error.as_object_mut()) {
            error.insert("data".to_owned(), data.clone());
        }
        json!({ "jsonrpc": "2.0", "id": self.id, "error": error })
    }
}

impl Incoming {
    /// Reads a body.
    pub(super) fn parse(body: &[u8], mirror: &Mirror) -> Result<Self, Fault> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| Fault::new(400, Value::Null, PARSE_ERROR, format!("the body is not JSON: {error}")))?;
        let Value::Object(mut fields) = value else {
            let what = if value.is_array() { "batches are not supported: send one message" } else { "the body is not an object" };
            return Err(Fault::new(400, Value::Null, INVALID_REQUEST, what));
        };
        let id = fields.remove("id");
        let shown = id.clone().filter(|id| id.is_string() || id.is_number()).unwrap_or(Value::Null);
        let invalid = |message: &str| Fault::new(400, shown.clone(), INVALID_REQUEST, message);
        if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(invalid("`jsonrpc` must be \"2.0\""));
        }
        let method = match fields.remove("method") {
            Some(Value::String(method)) => method,
            None if fields.contains_key("result") || fields.contains_key("error") => return Ok(Self::Other),
            _ => return Err(invalid("`method` must be a string")),
        };
        if id.is_some() && shown.is_null() {
            return Err(invalid("`id` must be a string or a number"));
        }
        let Some(id) = id else { return Ok(Self::Other) };
        let params = match fields.remove("params") {
            None => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => return Err(Fault::new(400, id, INVALID_PARAMS, "`params` must be an object")),
        };
        let mut request = Request { id, method, params, era: Era::Legacy };
        request.era = request.era(mirror)?;
        Ok(Self::Request(request))
    }
}

impl Request {
    /// An error about it.
    pub(super) fn fault(&self, status: u16, code: i32, message: impl Into<String>) -> Fault {
        Fault::new(status, self.id.clone(), code, message)
    }

    /// Finds out its era, and checks what that era asks for.
    fn era(&self, mirror: &Mirror) -> Result<Era, Fault> {
        let meta = self.params.get("_meta").and_then(Value::as_object);
        let stated = meta.and_then(|meta| meta.get(VERSION_KEY));
        match (stated, mirror.version.as_deref()) {
            (None, None) => Ok(Era::Legacy),
            (None, Some(version)) if LEGACY.contains(&version) => Ok(Era::Legacy),
            (None, Some(version)) if version != MODERN => Err(self.unsupported(version)),
            (stated, version) => {
                let missing = |key: &str| self.fault(400, INVALID_PARAMS, format!("`params._meta` lacks `{key}`"));
                let stated = stated.and_then(Value::as_str).ok_or_else(|| missing(VERSION_KEY))?;
                if meta.and_then(|meta| meta.get(CAPABILITIES_KEY)).is_none() {
                    return Err(missing(CAPABILITIES_KEY));
                }
                self.check_header("MCP-Protocol-Version", version, stated)?;
                if stated != MODERN {
                    return Err(self.unsupported(stated));
                }
                self.check_header("Mcp-Method", mirror.method.as_deref(), &self.method)?;
                if self.method == "tools/call" {
                    let name = self.params.get("name").and_then(Value::as_str).unwrap_or_default();
                    self.check_header("Mcp-Name", mirror.name.as_deref(), name)?;
                }
                Ok(Era::Modern)
            }
        }
    }

    /// Fails where a header does not say what the body says.
    fn check_header(&self, name: &str, header: Option<&str>, expected: &str) -> Result<(), Fault> {
        match header.map(decode_header) {
            Some(value) if value.trim() == expected => Ok(()),
            Some(_) => Err(self.fault(400, HEADER_MISMATCH, format!("the header {name} differs from the body"))),
            None => Err(self.fault(400, HEADER_MISMATCH, format!("the header {name} is missing"))),
        }
    }

    fn unsupported(&self, requested: &str) -> Fault {
        let data = json!({ "supported": supported(), "requested": requested });
        Fault { data: Some(data), ..self.fault(400, UNSUPPORTED_VERSION, "unsupported protocol version") }
    }
}

/// All versions, the newest first.
pub(super) fn supported() -> Vec<&'static str> {
    [MODERN].into_iter().chain(LEGACY).collect()
}

/// The value of a header that may be written as `=?base64?…?=`, since headers hold ASCII only.
fn decode_header(value: &str) -> Cow<'_, str> {
    let encoded = value.trim().strip_prefix("=?base64?").and_then(|value| value.strip_suffix("?="));
    let decoded = encoded.and_then(|encoded| String::from_utf8(BASE64.decode(encoded.as_bytes()).ok()?).ok());
    decoded.map_or(Cow::Borrowed(value), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(version: &str, method: &str, name: Option<&str>) -> Mirror {
        Mirror { version: Some(version.to_owned()), method: Some(method.to_owned()), name: name.map(str::to_owned) }
    }

    fn modern(method: &str, fields: Value) -> Value {
        let mut params = json!({ "_meta": { VERSION_KEY: MODERN, CAPABILITIES_KEY: {} } });
        params.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })
    }

    fn parse(body: &Value, mirror: &Mirror) -> Result<Incoming, Fault> {
        Incoming::parse(body.to_string().as_bytes(), mirror)
    }

    #[test]
    fn a_request_says_its_era() {
        let legacy = json!({ "jsonrpc": "2.0", "id": "a", "method": "tools/list" });
        for (body, mirror, era) in [
            (legacy.clone(), Mirror::default(), Era::Legacy),
            // Clients of the earlier era may send the later one's header.
            (legacy.clone(), mirror("2025-06-18", "tools/list", None), Era::Legacy),
            (modern("tools/list", json!({})), mirror(MODERN, "tools/list", None), Era::Modern),
            (modern("tools/call", json!({ "name": "bash" })), mirror(MODERN, "tools/call", Some("bash")), Era::Modern),
            (modern("tools/call", json!({ "name": "é" })), mirror(MODERN, "tools/call", Some("=?base64?w6k=?=")), Era::Modern),
        ] {
            let Ok(Incoming::Request(request)) = parse(&body, &mirror) else { panic!("{body}") };
            assert_eq!(request.era, era, "{body}");
        }
    }

    #[test]
    fn malformed_messages_are_refused_by_the_codes_of_the_specification() {
        let call = || modern("tools/call", json!({ "name": "bash" }));
        let without = |key: &str| {
            let mut body = modern("tools/list", json!({}));
            body["params"]["_meta"].as_object_mut().unwrap().remove(key);
            body
        };
        let plain = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
        let mut future = modern("tools/list", json!({}));
        future["params"]["_meta"][VERSION_KEY] = "2099-01-01".into();
        for (body, mirror, code) in [
            (json!([plain]), Mirror::default(), INVALID_REQUEST),
            (json!(7), Mirror::default(), INVALID_REQUEST),
            (json!({ "id": 1, "method": "ping" }), Mirror::default(), INVALID_REQUEST),
            (json!({ "jsonrpc": "2.0", "id": 1 }), Mirror::default(), INVALID_REQUEST),
            (json!({ "jsonrpc": "2.0", "id": null, "method": "ping" }), Mirror::default(), INVALID_REQUEST),
            (json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": [] }), Mirror::default(), INVALID_PARAMS),
            (without(VERSION_KEY), mirror(MODERN, "tools/list", None), INVALID_PARAMS),
            (without(CAPABILITIES_KEY), mirror(MODERN, "tools/list", None), INVALID_PARAMS),
            (call(), mirror(MODERN, "tools/call", None), HEADER_MISMATCH),
            (call(), mirror(MODERN, "tools/call", Some("read")), HEADER_MISMATCH),
            (call(), mirror(MODERN, "tools/list", Some("bash")), HEADER_MISMATCH),
            (call(), mirror("2025-11-25", "tools/call", Some("bash")), HEADER_MISMATCH),
            (call(), Mirror::default(), HEADER_MISMATCH),
            (future, mirror("2099-01-01", "tools/list", None), UNSUPPORTED_VERSION),
            (plain, mirror("2099-01-01", "ping", None), UNSUPPORTED_VERSION),
        ] {
            let fault = parse(&body, &mirror).unwrap_err();
            assert_eq!((fault.status, fault.code), (400, code), "{body}");
        }
        assert_eq!(Incoming::parse(b"{", &Mirror::default()).unwrap_err().code, PARSE_ERROR);
    }

    #[test]
    fn notifications_and_answers_want_nothing() {
        for body in [
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
            json!({ "jsonrpc": "2.0", "id": 1, "result": {} }),
            json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": 1, "message": "" } }),
        ] {
            assert_eq!(parse(&body, &Mirror::default()), Ok(Incoming::Other), "{body}");
        }
    }
}
