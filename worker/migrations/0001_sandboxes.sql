-- One row for each sandbox, written by its Durable Object: the directory is for finding sandboxes, and no request to one waits for it.
CREATE TABLE sandboxes (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    project TEXT,
    -- A JSON object of strings.
    labels TEXT NOT NULL,
    -- A destroyed sandbox stays for a while, unseen: a late write about it must not bring it back.
    state TEXT NOT NULL,
    -- RFC 3339 in UTC, of one width, so that they sort as text.
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    -- Grows with each change of a sandbox, over all that were created and destroyed under its id: older writes change nothing.
    version INTEGER NOT NULL,
    -- The sandbox as it describes itself, JSON. The columns before are what is filtered and sorted by.
    sandbox TEXT NOT NULL
) WITHOUT ROWID;

-- What pages are read by.
CREATE INDEX sandboxes_by_creation ON sandboxes (tenant, created_at, id);
CREATE INDEX sandboxes_by_change ON sandboxes (tenant, updated_at, id);
CREATE INDEX sandboxes_by_id ON sandboxes (tenant, id);

-- What is forgotten in the end.
CREATE INDEX sandboxes_destroyed ON sandboxes (updated_at) WHERE state = 'destroyed';
