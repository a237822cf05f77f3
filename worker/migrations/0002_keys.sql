-- API keys. A key that is revoked stays, so that it is known for what it was.
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    -- SHA-256 of the secret, in hexadecimal. The secret has 256 random bits, so no slower hash makes it harder to guess.
    digest TEXT NOT NULL,
    -- JSON.
    scopes TEXT NOT NULL,
    created_by TEXT NOT NULL,
    -- RFC 3339 in UTC, of one width, so that they sort as text.
    created_at TEXT NOT NULL,
    expires_at TEXT,
    revoked_at TEXT,
    last_used_at TEXT
) WITHOUT ROWID;

-- What pages are read by.
CREATE INDEX keys_by_creation ON keys (created_at, id);
CREATE INDEX keys_of_tenant_by_creation ON keys (tenant, created_at, id);
