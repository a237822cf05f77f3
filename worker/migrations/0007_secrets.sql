-- Secrets that are added to the requests of a tenant's sandboxes, outside the sandboxes.
CREATE TABLE secrets (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    -- The value, encrypted with a key of the Worker's (CABANA_SECRETS_KEY), bound to the tenant and the name.
    sealed TEXT NOT NULL,
    -- A JSON array of the hosts that it may be sent to; NULL where the rules of sandboxes decide.
    hosts TEXT,
    -- RFC 3339 in UTC.
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
