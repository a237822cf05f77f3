//! The table of [`routes`](super).

use super::{Health, PATH, Route};
use crate::{
    audit::{AuditPage, AuditVerification},
    file,
    key::{CreateKey, Key, KeyPage, NewKey, UpdateKey},
    metrics::Metrics,
    preview::{ExposePort, ExposedPort, ExposedPorts},
    project::{CreateProject, Project, Projects},
    sandbox::{CreateSandbox, History, LifeEvent, Sandbox, SandboxKinds, Sandboxes, SetupEvent, UpdateSandbox},
    token::{ConnectToken, CreateToken},
};

/// All of them.
pub fn table() -> Vec<Route> {
    vec![
        Route::get("/health", "health", "Tells whether the gateway is up. Open to everyone.").gives::<Health>(),
        Route::get("/v1/openapi.json", "openapi", "This document. Open to everyone.").gives_object(),
        Route::get("/v1/docs", "docs", "The same document as a page to read. Open to everyone.").gives_bytes("text/html"),
        Route::get("/v1/kinds", "kind.list", "The kinds of sandboxes that there are, with what a sandbox of each gets.")
            .gives::<SandboxKinds>(),
        Route::get("/v1/projects", "project.list", "The tenant's projects, in the order of their names.")
            .query(&[
                ("limit", "integer", "How many in one answer, 1 to 1,000; default 100."),
                ("cursor", "string", "`next_cursor` of the answer before."),
            ])
            .gives::<Projects>(),
        Route::post("/v1/projects", "project.create", "Makes a project.\n\nIts name is free, or the answer is `conflict`.")
            .takes::<CreateProject>()
            .gives::<Project>()
            .status(&[201]),
        Route::get("/v1/projects/{name}", "project.get", "Shows a project, its variables by their names only.")
            .gives::<Project>(),
        Route::patch(
            "/v1/projects/{name}",
            "project.update",
            "Changes a project.\n\nWhat is not named stays as it is; null resets a field; `env` is replaced as a whole. \
             Sandboxes that there are do not change. `conflict` where somebody else changes it at the same time: repeat.",
        )
        .takes_object()
        .gives::<Project>(),
        Route::delete("/v1/projects/{name}", "project.delete", "Forgets a project, if there is one. Its sandboxes stay."),
        Route::post(
            "/v1/sandboxes",
            "sandbox.create",
            "Makes a sandbox, or finds the one of that name.\n\nAnswers 201 where it was made and 200 where it was there. Its \
             container starts with its first operation.\n\nOne of a project is answered when it is ready for it; `Accept: \
             application/x-ndjson` and `text/event-stream` tell how that goes. JSON that is long in coming begins with spaces, and \
             breaks off where the setup fails after that.",
        )
        .takes::<CreateSandbox>()
        .streams::<Sandbox, SetupEvent>(
            "Of a sandbox of a project: one event a line; the last line is the sandbox, `{\"type\": \"result\", …}`, or the error.",
        )
        .status(&[200, 201]),
        Route::get(
            "/v1/sandboxes",
            "sandbox.list",
            "Lists sandboxes, those that the caller may see and all filters hold for.\n\nWhat changes is known here a moment \
             later. A parameter that does not exist is an `invalid_request`.",
        )
        .query(&[
            ("label", "array", "`name=value`, or a name alone: has that label. All must hold."),
            ("kind", "string", "Of this kind."),
            ("project", "string", "Of this project."),
            ("state", "string", "In this state."),
            ("name", "string", "Of this name, the part of the id after the kind."),
            ("tenant", "string", "Of this tenant; for operators, who see all otherwise."),
            ("sort", "string", "`created_at` (default), `updated_at` or `id`."),
            ("order", "string", "`desc` (default) or `asc`."),
            ("limit", "integer", "How many in one answer, 1 to 1,000; default 100."),
            ("cursor", "string", "`next_cursor` of the answer before; the other parameters stay as they were."),
        ])
        .gives::<Sandboxes>(),
        Route::patch(
            "/v1/sandboxes/{id}",
            "sandbox.update",
            "Changes a sandbox, without waking it.\n\nWhat is not named stays as it is, and null resets to the default. \
             Setting what is set already changes nothing, and no timer begins anew.",
        )
        .takes::<UpdateSandbox>()
        .gives::<Sandbox>(),
        Route::get("/v1/sandboxes/{id}", "sandbox.get", "Shows a sandbox, without waking it.").gives::<Sandbox>(),
        Route::delete("/v1/sandboxes/{id}", "sandbox.delete", "Ends and forgets a sandbox, however often."),
        Route::post(
            "/v1/sandboxes/{id}/start",
            "sandbox.start",
            "Starts a sandbox, and answers when it is ready; does nothing to one that runs.",
        )
        .gives::<Sandbox>(),
        Route::post(
            "/v1/sandboxes/{id}/stop",
            "sandbox.stop",
            "Stops a sandbox, and answers when its container has ended; does nothing to one that does not run.\n\nIts \
             programs get SIGTERM, and are killed after 10 s at most. Its files go with its container. The next operation \
             starts it again.",
        )
        .gives::<Sandbox>(),
        Route::post("/v1/sandboxes/{id}/restart", "sandbox.restart", "Stops a sandbox and starts it again.").gives::<Sandbox>(),
        Route::get(
            "/v1/sandboxes/{id}/events",
            "sandbox.events",
            "What happened in a sandbox's life: its states and how it came into them, the last 256.\n\nWith `Accept: \
             application/x-ndjson` a line for each, with `text/event-stream` server-sent events, which `Last-Event-ID` goes \
             on from. Wakes nothing, and keeps nothing awake.",
        )
        .query(&[
            ("from", "integer", "Only what came after the event of this number."),
            ("follow", "boolean", "Go on with what happens from now on; ends with the sandbox."),
        ])
        .streams::<History, LifeEvent>("One event a line."),
        Route::post(
            "/v1/sandboxes/{id}/tokens",
            "token.create",
            "Makes a connect token, good for this sandbox alone.\n\nIt makes no tokens and no keys in turn, and ends with the \
             credentials that made it, at the latest.",
        )
        .takes::<CreateToken>()
        .gives::<ConnectToken>()
        .status(&[201]),
        Route::post("/v1/keys", "key.create", "Makes an API key, which is shown this once.")
            .takes::<CreateKey>()
            .gives::<NewKey>()
            .status(&[201]),
        Route::get(
            "/v1/keys",
            "key.list",
            "Lists the keys of the caller's tenant, or of all for the operator, the newest first.",
        )
        .query(&[
            ("limit", "integer", "How many at most, 1 to 200; default 50."),
            ("cursor", "string", "Where an earlier page said that the next one begins."),
            ("revoked", "boolean", "Those that were revoked, too."),
            ("tenant", "string", "Only this tenant's; for the operator."),
        ])
        .gives::<KeyPage>(),
        Route::get("/v1/keys/{key}", "key.get", "Shows a key, also one that was revoked.").gives::<Key>(),
        Route::patch("/v1/keys/{key}", "key.update", "Renames a key.").takes::<UpdateKey>().gives::<Key>(),
        Route::delete(
            "/v1/keys/{key}",
            "key.delete",
            "Revokes a key, however often.\n\nWithin 60 s nobody is let in with it, nor with what was made with it.",
        ),
        Route::get(
            "/v1/sandboxes/{id}/audit",
            "audit.list",
            "What was asked of a sandbox, by whom, and what came of it, newest first.\n\nEvery operation and connection has \
             an entry, refused ones of known callers too; only what merely looks at the sandbox, as this does, has none. \
             Entries are kept for 30 days, where the deployment does not say otherwise, also those of a sandbox that was \
             destroyed. Wakes nothing.",
        )
        .query(&[
            ("from", "string", "Only what came at this time, RFC 3339, or later."),
            ("to", "string", "Only what came before this time."),
            ("operation", "string", "Only this operation, or this family."),
            ("principal", "string", "Only what this caller asked."),
            ("outcome", "string", "Only what came to this: `ok`, a code, `open`, `finished`, `cut`, `broken` or `lost`."),
            ("limit", "integer", "How many at most, 1 to 1,000. Default: 100."),
            ("cursor", "string", "What the page before gave."),
        ])
        .gives::<AuditPage>(),
        Route::get(
            "/v1/sandboxes/{id}/audit/verify",
            "audit.verify",
            "Checks that no entry of the audit was changed, taken out or moved.",
        )
        .gives::<AuditVerification>(),
        Route::get(
            "/v1/sandboxes/{id}/metrics",
            "metrics.get",
            "What is measured of a sandbox.\n\nWith `Accept: text/plain` in the text form of Prometheus. Wakes nothing.",
        )
        .query(&[("format", "string", "`json` or `prometheus`, whatever is accepted.")])
        .gives::<Metrics>(),
        Route::get(
            "/v1/sandboxes/{id}/files",
            "file.read#lane",
            "The content of a file.\n\n`Range` and `If-None-Match` work as RFC 9110 says.",
        )
        .query(&[PATH])
        .gives_bytes("application/octet-stream"),
        Route::put(
            "/v1/sandboxes/{id}/files",
            "file.write#lane",
            "Writes a file, of any size, and makes missing directories.\n\nIt appears whole and in place of what had its \
             name, with 200 then and 201 otherwise; `If-Match` and `If-None-Match` work.\n\nThe body is the whole content as it \
             is: `Content-Range` is an `invalid_request`, and any `Content-Encoding` but `identity` an \
             `unsupported_media_type`; then nothing has changed.",
        )
        .query(&[PATH, ("mode", "string", "Permission bits in octal.")])
        .takes_bytes("application/octet-stream")
        .gives::<file::Written>()
        .status(&[200, 201]),
        Route::delete("/v1/sandboxes/{id}/files", "file.write#delete", "Removes a file.").query(&[PATH]),
        Route::get("/v1/sandboxes/{id}/archive", "file.read#archive", "A directory, or a file, as a tar archive.")
            .query(&[
                PATH,
                ("format", "string", "`tar`, `tar.gz` or `tar.zst`."),
                ("include", "array", "Globs of what to store."),
                ("exclude", "array", "Globs of what to leave out."),
            ])
            .gives_bytes("application/x-tar"),
        Route::put(
            "/v1/sandboxes/{id}/archive",
            "file.write#archive",
            "Extracts a tar archive, plain or compressed, into a directory, which is made where it is missing.\n\nIts \
             compression is told by its first bytes. `Content-Range` is an `invalid_request`, and any `Content-Encoding` but \
             `identity` an `unsupported_media_type`.",
        )
        .query(&[PATH])
        .takes_bytes("application/octet-stream")
        .gives::<file::Extracted>(),
        Route::post(
            "/v1/sandboxes/{id}/ports",
            "port.expose",
            "Gives a port of the sandbox a URL, or changes how it is reached.\n\nAnswers 201 where it had none and 200 where \
             it had one; what the request does not name stays as it is, the URL included. Wakes nothing.",
        )
        .takes::<ExposePort>()
        .gives::<ExposedPort>()
        .status(&[200, 201]),
        Route::get(
            "/v1/sandboxes/{id}/ports",
            "port.get#all",
            "Lists the ports that have a URL, without waking the sandbox.\n\nWho listens in the sandbox, `port.list` tells.",
        )
        .gives::<ExposedPorts>(),
        Route::get("/v1/sandboxes/{id}/ports/{port}", "port.get", "Shows a port that has a URL, without waking the sandbox.")
            .gives::<ExposedPort>(),
        Route::delete(
            "/v1/sandboxes/{id}/ports/{port}",
            "port.close",
            "Takes a port's URL away, however often. What listens there goes on.",
        ),
        Route::get(
            "/v1/sandboxes/{id}/ports/{port}/proxy/{path}",
            "port.proxy",
            "What a program in the sandbox answers on this port, whether the port has a URL or not; starts the container if \
             it has to.\n\nAny method and body, WebSocket too; credentials and cookies do not reach the program.",
        )
        .gives_bytes("*/*"),
        Route::get("/v1/sandboxes/{id}/connect", "connect", "A WebSocket for operations.")
            .query(&[
                ("token", "string", "The credential, of a client that cannot set headers."),
                ("binary", "boolean", "Whether bytes come, and may be sent, in binary frames rather than in JSON. Default: no."),
            ])
            .status(&[101]),
    ]
}
