-- What sandboxes are set up from: a repository, and how to make it ready.
CREATE TABLE projects (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    -- JSON. Its variables may be secrets, and are never shown.
    definition TEXT NOT NULL,
    -- RFC 3339 in UTC.
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    -- Grows with each change, so that of two changes at once one fails and none is lost.
    version INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
