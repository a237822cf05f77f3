-- An id is its tenant's: two tenants may have a sandbox of the same id.
CREATE TABLE sandboxes_of_tenants (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
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
    sandbox TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;

INSERT INTO sandboxes_of_tenants (tenant, id, kind, project, labels, state, created_at, updated_at, version, sandbox)
    SELECT tenant, id, kind, project, labels, state, created_at, updated_at, version, sandbox FROM sandboxes;
DROP TABLE sandboxes;
ALTER TABLE sandboxes_of_tenants RENAME TO sandboxes;

-- What pages are read by; by id, the primary key does.
CREATE INDEX sandboxes_by_creation ON sandboxes (tenant, created_at, id);
CREATE INDEX sandboxes_by_change ON sandboxes (tenant, updated_at, id);

-- What is forgotten in the end is found by its version, which is when it was destroyed.
CREATE INDEX sandboxes_destroyed ON sandboxes (version) WHERE state = 'destroyed';
