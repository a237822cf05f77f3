//! The table of [`routes`](super).

use super::{Health, PATH, Route, SESSION};
use crate::{
    audit::{AuditPage, AuditVerification},
    file,
    key::{CreateKey, Key, KeyPage, NewKey, UpdateKey},
    metrics::Metrics,
    network::NetworkReport,
    preview::{ExposePort, ExposedPort, ExposedPorts},
    project::{CreateProject, Project, Projects},
    sandbox::{
        Archive, Archives, CreateArchive, CreateSandbox, CreateSnapshot, ForkSandbox, Forks, History, LifeEvent, RestoreArchive,
        Sandbox, SandboxKinds, Sandboxes, SetupEvent, Snapshot, Snapshots, UpdateSandbox, Upgraded,
    },
    secret::{CreateSecret, Secret, Secrets},
    token::{ConnectToken, CreateLink, CreateToken, FileLink},
    variables::VariableList,
};

/// All of them.
pub fn table() -> Vec<Route> {
    vec![
        Route::get("/health", "health", "Tells whether the gateway is up. Open to everyone.").gives::<Health>(),
        Route::get("/v1/openapi.json", "openapi", "This document. Open to everyone.").gives_object(),
        Route::get("/v1/docs", "docs", "The same document as a page to read. Open to everyone.").gives_bytes("text/html"),
        Route::get(
            "/v1/sandboxes/{id}/notebook",
            "notebook",
            "A page on which a person types cells of code and sees what they show. Open to everyone: the page asks for a key.",
        )
        .gives_bytes("text/html"),
        Route::get("/v1/kinds", "kind.list", "The kinds of sandboxes that there are, with what a sandbox of each gets.")
            .gives::<SandboxKinds>(),
        Route::get("/v1/projects", "project.list", "The tenant's projects, in the order of their names.")
            .query(&[
                ("limit", "integer", "How many in one answer, 1 to 1,000; default 100."),
                ("cursor", "string", "`cursor` of the answer before."),
            ])
            .gives::<Projects>(),
        Route::post(
            "/v1/projects",
            "project.create",
            "Makes a project, or finds the same one.\n\nAnswers 201 for a new project, and 200 for one of this name that is defined alike. \
             `conflict` where it is defined otherwise: `details.differs` names the fields.",
        )
        .takes::<CreateProject>()
        .gives::<Project>()
        .status(&[200, 201]),
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
        Route::get("/v1/secrets", "secret.list", "The tenant's secrets, in the order of their names, without their values.")
            .query(&[
                ("limit", "integer", "How many in one answer, 1 to 1,000; default 100."),
                ("cursor", "string", "`cursor` of the answer before."),
            ])
            .gives::<Secrets>(),
        Route::post(
            "/v1/secrets",
            "secret.create",
            "Stores a secret, which `network.secrets` of a sandbox has added to its requests.\n\nA secret of this name gets the new \
             value in place of the old one, with 200; within 60 s it is used everywhere, and no sandbox is restarted. The value is never \
             shown again.",
        )
        .takes::<CreateSecret>()
        .gives::<Secret>()
        .status(&[200, 201]),
        Route::get("/v1/secrets/{name}", "secret.get", "Shows a secret, without its value.").gives::<Secret>(),
        Route::delete(
            "/v1/secrets/{name}",
            "secret.delete",
            "Forgets a secret, if there is one.\n\nWithin 60 s requests that it would be added to fail.",
        ),
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
            ("state", "created|starting|running|stopping|sleeping|failed|destroyed", "In this state."),
            ("name", "string", "Of this name, the part of the id after the kind."),
            ("tenant", "string", "Of this tenant; for operators, who see all otherwise."),
            ("sort", "created_at|updated_at|id", "`created_at` (default), `updated_at` or `id`."),
            ("order", "asc|desc", "`desc` (default) or `asc`."),
            ("limit", "integer", "How many in one answer, 1 to 1,000; default 100."),
            ("cursor", "string", "`cursor` of the answer before; the other parameters stay as they were."),
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
             programs get SIGTERM, and are killed after 10 s at most. Its files are saved, unless it is ephemeral, and the next \
             operation starts it again with them. Where they cannot be saved it stays up: `container_not_ready`, \
             `snapshot_failed`.",
        )
        .gives::<Sandbox>(),
        Route::post("/v1/sandboxes/{id}/restart", "sandbox.restart", "Stops a sandbox and starts it again.").gives::<Sandbox>(),
        Route::post(
            "/v1/sandboxes/{id}/snapshots",
            "snapshot.create",
            "Saves the files of a sandbox as they are now.\n\nPrograms run on. Of a sandbox that is down it is what its next start \
             begins with. `conflict`: nothing was saved yet (`nothing_saved`), it keeps no files (`ephemeral`), or it has 64 \
             snapshots (`limit`).",
        )
        .takes::<CreateSnapshot>()
        .gives::<Snapshot>()
        .status(&[201]),
        Route::get("/v1/sandboxes/{id}/snapshots", "snapshot.list", "The snapshots of a sandbox, the newest first. Wakes nothing.")
            .gives::<Snapshots>(),
        Route::get("/v1/sandboxes/{id}/snapshots/{snapshot}", "snapshot.get", "Shows a snapshot. Wakes nothing.")
            .gives::<Snapshot>(),
        Route::delete(
            "/v1/sandboxes/{id}/snapshots/{snapshot}",
            "snapshot.delete",
            "Forgets a snapshot, if there is one. Sandboxes that began with it stay as they are.",
        ),
        Route::post(
            "/v1/sandboxes/{id}/snapshots/{snapshot}/restore",
            "snapshot.restore",
            "Brings back the files of a snapshot.\n\nThe files as they are now are kept as one more snapshot first, and the \
             sandbox is stopped. Its next start begins with the snapshot.",
        )
        .gives::<Sandbox>(),
        Route::post(
            "/v1/sandboxes/{id}/upgrade",
            "sandbox.upgrade",
            "Moves a sandbox to its kind's present image.\n\nIts processes end, the files of its roots go by way of an archive into a \
             sandbox of the new image, and its next start begins with those. What is outside its roots is the new image's. The \
             files as they were are kept as a snapshot, by which it can go back. What fails changes nothing.",
        )
        .gives::<Upgraded>(),
        Route::post(
            "/v1/sandboxes/{id}/archives",
            "archive.create",
            "Makes an archive of a directory in the deployment's bucket.\n\nIt outlasts the sandbox and can be restored in any of the \
             tenant's sandboxes, of whatever kind. Only chunks that no other archive of the tenant has are stored. \
             `not_implemented`: the deployment has no bucket.",
        )
        .takes::<CreateArchive>()
        .gives::<Archive>()
        .status(&[201]),
        Route::get(
            "/v1/sandboxes/{id}/archives",
            "archive.list",
            "The archives of the sandbox's tenant, the newest first. Wakes nothing.",
        )
        .gives::<Archives>(),
        Route::get("/v1/sandboxes/{id}/archives/{archive}", "archive.get", "Shows an archive. Wakes nothing.").gives::<Archive>(),
        Route::delete(
            "/v1/sandboxes/{id}/archives/{archive}",
            "archive.delete",
            "Forgets an archive, if there is one. Chunks that no other archive needs are removed later.",
        ),
        Route::post(
            "/v1/sandboxes/{id}/archives/{archive}/restore",
            "archive.restore",
            "Has a directory hold what an archive holds, and nothing else.\n\nEvery chunk is verified. `unprocessable`, `damaged`: one \
             is missing or is not what it was, and the directory stays as it is.",
        )
        .takes::<RestoreArchive>()
        .gives::<file::Extracted>(),
        Route::post(
            "/v1/sandboxes/{id}/fork",
            "sandbox.fork",
            "Makes sandboxes that begin with the files of this one as they are now.\n\nThey have its kind, size, variables, labels, \
             network and times. Where one cannot be made, none is.",
        )
        .takes::<ForkSandbox>()
        .gives::<Forks>()
        .status(&[201]),
        Route::get(
            "/v1/sandboxes/{id}/env",
            "sandbox.env",
            "The variables that new commands get, and where each comes from.\n\nEach comes on top of the ones before: image, kind, \
             project, sandbox. Values that may be secret are not shown. Wakes nothing.",
        )
        .gives::<VariableList>(),
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
        Route::post(
            "/v1/sandboxes/{id}/links",
            "token.link",
            "Makes a URL for the download or the upload of one file, good without another credential.\n\nIt ends with the credentials \
             that made it, at the latest.",
        )
        .takes::<CreateLink>()
        .gives::<FileLink>()
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
            "Checks that no entry of the audit was changed, taken out or moved, page by page.",
        )
        .query(&[("cursor", "string", "What the page before gave.")])
        .gives::<AuditVerification>(),
        Route::get(
            "/v1/sandboxes/{id}/metrics",
            "metrics.get",
            "What is measured of a sandbox.\n\nWith `Accept: text/plain` in the text form of Prometheus. Wakes nothing.",
        )
        .query(&[("format", "json|prometheus", "`json` or `prometheus`, whatever is accepted.")])
        .gives_or_text::<Metrics>("text/plain"),
        Route::get(
            "/v1/sandboxes/{id}/network",
            "network.get",
            "The network rules of a sandbox, of its project and of its kind, how many requests they have let pass and denied, and the last \
             that they denied.\n\nWakes nothing.",
        )
        .gives::<NetworkReport>(),
        Route::get(
            "/v1/sandboxes/{id}/files",
            "file.read",
            "The content of a file.\n\n`Range`, `If-None-Match` and `If-Modified-Since` work as RFC 9110 says.",
        ).named("file.download")
        .query(&[PATH, SESSION])
        .gives_bytes("application/octet-stream"),
        Route::put(
            "/v1/sandboxes/{id}/files",
            "file.write",
            "Writes a file, of any size, and makes missing directories.\n\nIt appears whole and in place of what had its \
             name, with 200 then and 201 otherwise; `If-Match` and `If-None-Match` work.\n\nWith `Content-Range: bytes \
             <first>-<last>/<complete length or *>` the body is a part, which is written in place: at the end of what is there or \
             before it, else `range_not_satisfiable`. The part at 0 creates the file, the one that reaches the complete length \
             ends it.\n\nThe body is the content as it is: any `Content-Encoding` but `identity` is an \
             `unsupported_media_type`, and changes nothing.",
        ).named("file.upload")
        .query(&[
            PATH,
            SESSION,
            ("mode", "string", "Permission bits in octal."),
            ("max_bytes", "integer", "The most that is taken; more is `payload_too_large`, and changes nothing."),
        ])
        .takes_bytes("application/octet-stream")
        .gives::<file::Written>()
        .status(&[200, 201]),
        Route::delete("/v1/sandboxes/{id}/files", "file.write", "Removes a file.").named("file.delete").query(&[PATH, SESSION]),
        Route::get("/v1/sandboxes/{id}/archive", "file.read", "A directory, or a file, as a tar archive.").named("archive.download")
            .query(&[
                PATH,
                SESSION,
                ("format", "tar|tar.gz|tar.zst", "`tar`, `tar.gz` or `tar.zst`."),
                ("include", "array", "Globs of what to store."),
                ("exclude", "array", "Globs of what to leave out."),
            ])
            .gives_bytes("application/x-tar"),
        Route::put(
            "/v1/sandboxes/{id}/archive",
            "file.write",
            "Extracts a tar archive, plain or compressed, into a directory, which is made where it is missing.\n\nIts \
             compression is told by its first bytes. `Content-Range` is an `invalid_request`, and any `Content-Encoding` but \
             `identity` an `unsupported_media_type`.",
        ).named("archive.upload")
        .query(&[PATH, SESSION])
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
            "port.get",
            "Lists the ports that have a URL, without waking the sandbox.\n\nWho listens in the sandbox, `port.list` tells.",
        ).named("port.exposed")
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
        Route::post(
            "/mcp",
            "mcp",
            "The Model Context Protocol, for assistants: tools for all sandboxes that the credentials reach.\n\nOne JSON-RPC message a \
             request, of the versions 2026-07-28, 2025-11-25, 2025-06-18 and 2025-03-26; there is no session. Errors of the protocol have \
             the form of JSON-RPC, those of a tool are results. A notification is answered by 202.",
        )
        .takes_object()
        .gives_object()
        .status(&[200, 202]),
        Route::post(
            "/v1/sandboxes/{id}/mcp",
            "mcp",
            "The Model Context Protocol, for assistants: tools for this sandbox, none of which takes an id.",
        ).named("sandbox.mcp")
        .takes_object()
        .gives_object()
        .status(&[200, 202]),
        Route::get("/v1/sandboxes/{id}/connect", "connect", "A WebSocket for operations.")
            .query(&[
                ("token", "string", "The credential, of a client that cannot set headers."),
                ("binary", "boolean", "Whether bytes come, and may be sent, in binary frames rather than in JSON. Default: no."),
            ])
            .status(&[101]),
    ]
}
