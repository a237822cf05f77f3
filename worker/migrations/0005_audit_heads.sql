-- The newest record of each sandbox's audit that is known here. The audit itself is in the sandbox's Durable Object: whoever cuts off its
-- end there, or writes all of it anew, does not change this.
CREATE TABLE audit_heads (
    sandbox TEXT PRIMARY KEY,
    id INTEGER NOT NULL,
    hash TEXT NOT NULL
) WITHOUT ROWID;
