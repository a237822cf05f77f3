//! The Model Context Protocol: a sandbox's operations as tools for assistants.
//!
//! `POST /mcp` offers the tools for all sandboxes that the caller sees, `POST /v1/sandboxes/{id}/mcp` those for one. Each call becomes requests to
//! the API on behalf of the same caller ([`api`]): scopes, quotas and audit hold as for any other. There is no session.

mod api;
mod arguments;
mod message;
mod run;
mod text;
mod tool;

use cabana::{Page, SandboxId, reply};
use cabana_protocol::Error;
use serde_json::{Map, Value, json};
use worker::{Response, ResponseBuilder};

use crate::call::Call;
use api::Api;
use message::{Era, Fault, INVALID_PARAMS, Incoming, LEGACY, METHOD_NOT_FOUND, Mirror, Request, supported};
use tool::Tool;

/// Largest request: a file of 8 MiB, as JSON writes text.
const MAX_BODY_BYTES: usize = 12 << 20;

/// For how long a client may keep the list of tools: they change with a deployment and with the key's scopes.
const LIST_TTL_MS: u64 = 300_000;

/// What a model reads before all tools. Some clients cut it after 2,048 characters.
const INSTRUCTIONS: &str = "Cabana runs commands in sandboxes: Linux machines with files of their own, apart from the user's. `bash` runs a command, \
    `read`, `write`, `edit` and `apply_patch` work on files below /workspace, `process` runs servers, `expose_port` gives one a URL. A sandbox that \
    is idle sleeps and keeps its files, but not its processes; the next call wakes it.";

/// The same of all sandboxes.
const CHOICE: &str = " Without `sandbox` a call is for a sandbox of yours that is made on first use; `sandbox` makes others.";

/// Answers one message.
///
/// Fails with `forbidden` where a web page of another host sends it, and with `payload_too_large`.
pub(crate) async fn answer(mut call: Call, sandbox: Option<SandboxId>) -> Result<Response, Error> {
    Page::of(&call.request, &call.url, &call.env).check()?;
    let header = |name: &str| call.request.headers().get(name).ok().flatten();
    let mirror = Mirror { version: header("mcp-protocol-version"), method: header("mcp-method"), name: header("mcp-name") };
    let body = cabana::request::read_body(&mut call.request, MAX_BODY_BYTES).await?;
    let (status, answer) = match Incoming::parse(&body, &mirror) {
        Ok(Incoming::Other) => return Ok(accepted(&call)),
        Ok(Incoming::Request(request)) => {
            let api = Api {
                env: &call.env,
                context: &call.context,
                principal: &call.principal,
                request_id: &call.request_id,
                only: sandbox.as_ref(),
            };
            match result(&request, &api).await {
                Ok(result) => (200, json!({ "jsonrpc": "2.0", "id": request.id, "result": dressed(result, request.era) })),
                Err(fault) => (fault.status, fault.to_json()),
            }
        }
        Err(fault) => (fault.status, fault.to_json()),
    };
    Ok(call.json(status, &answer))
}

/// The answer to what wants none.
fn accepted(call: &Call) -> Response {
    let response = ResponseBuilder::new().with_status(202).empty();
    reply::with_header(response, cabana::request_id::HEADER, call.request_id.as_str())
}

async fn result(request: &Request, api: &Api<'_>) -> Result<Value, Fault> {
    let modern = request.era == Era::Modern;
    match request.method.as_str() {
        "initialize" if !modern => Ok(initialize(&request.params, api)),
        "ping" if !modern => Ok(json!({})),
        "server/discover" if modern => Ok(cacheable(json!({
            "supportedVersions": supported(),
            "capabilities": { "tools": {} },
            "instructions": instructions(api),
        }))),
        "tools/list" => Ok(cacheable(json!({ "tools": tool::list(api.principal, api.only) }))),
        "tools/call" => call_tool(request, api).await,
        other => Err(request.fault(if modern { 404 } else { 200 }, METHOD_NOT_FOUND, format!("unknown method `{other}`"))),
    }
}

fn initialize(params: &Map<String, Value>, api: &Api<'_>) -> Value {
    let asked = params.get("protocolVersion").and_then(Value::as_str);
    let version = LEGACY.into_iter().find(|version| asked == Some(version)).unwrap_or(LEGACY[0]);
    json!({
        "protocolVersion": version,
        "capabilities": { "tools": {} },
        "serverInfo": server_info(),
        "instructions": instructions(api),
    })
}

fn instructions(api: &Api<'_>) -> String {
    match api.only {
        Some(id) => format!("{INSTRUCTIONS} All tools are for the sandbox {id}."),
        None => INSTRUCTIONS.to_owned() + CHOICE,
    }
}

fn server_info() -> Value {
    json!({ "name": "cabana", "title": "Cabana sandboxes", "version": env!("CARGO_PKG_VERSION") })
}

async fn call_tool(request: &Request, api: &Api<'_>) -> Result<Value, Fault> {
    let name = request.params.get("name").and_then(Value::as_str).unwrap_or_default();
    let visible = Tool::parse(name).filter(|tool| tool.is_visible(api.principal, api.only));
    let tool = visible.ok_or_else(|| request.fault(200, INVALID_PARAMS, format!("unknown tool `{name}`")))?;
    let arguments = match request.params.get("arguments") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(arguments)) => arguments.clone(),
        Some(_) => return Err(request.fault(200, INVALID_PARAMS, "`arguments` must be an object")),
    };
    Ok(match run::run(tool, arguments, api).await {
        Ok(content) => json!({ "content": content, "isError": false }),
        Err(error) => json!({ "content": [run::block(text::error(&error))], "isError": true }),
    })
}

/// A result that a client may keep, for itself: it depends on the credentials.
fn cacheable(mut result: Value) -> Value {
    if let Some(fields) = result.as_object_mut() {
        fields.insert("ttlMs".to_owned(), LIST_TTL_MS.into());
        fields.insert("cacheScope".to_owned(), "private".into());
    }
    result
}

/// The result with what its era wants of every result, and without what the other era knows.
fn dressed(mut result: Value, era: Era) -> Value {
    let Some(fields) = result.as_object_mut() else { return result };
    match era {
        Era::Modern => {
            fields.insert("resultType".to_owned(), "complete".into());
            fields.insert("_meta".to_owned(), json!({ "io.modelcontextprotocol/serverInfo": server_info() }));
        }
        Era::Legacy => fields.retain(|name, _| !["ttlMs", "cacheScope"].contains(&name.as_str())),
    }
    result
}
