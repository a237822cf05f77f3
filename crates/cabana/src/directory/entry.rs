//! What the directory is told about a sandbox. Pure.

use cabana_protocol::{
    Error,
    sandbox::{Sandbox, State},
};
use serde::{Deserialize, Serialize};

use crate::database::{Statement, Value};

/// How long the row of a destroyed sandbox is kept, in milliseconds: longer than any write about it is under way.
const KEEP_DESTROYED_MS: u64 = 24 * 60 * 60 * 1_000;

/// What became of a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Grows with each change, over all sandboxes of one id and tenant: the time in milliseconds since 1970, or one more than before.
    pub(crate) version: u64,
    /// What it is like now.
    pub(crate) sandbox: Sandbox,
}

impl Entry {
    /// What brings the directory up to date. However often and late it is carried out, a newer row stays.
    pub(super) fn statements(&self) -> Result<Vec<Statement>, Error> {
        let mut statements = vec![self.upsert()?];
        if self.sandbox.state == State::Destroyed {
            let age = Value::from(self.version.saturating_sub(KEEP_DESTROYED_MS));
            statements.push(Statement::new("DELETE FROM sandboxes WHERE state = 'destroyed' AND version < ?", [age]));
        }
        Ok(statements)
    }

    fn upsert(&self) -> Result<Statement, Error> {
        const UPSERT: &str = "INSERT INTO sandboxes \
            (id, tenant, kind, project, labels, state, created_at, updated_at, version, sandbox) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
            ON CONFLICT (tenant, id) DO UPDATE SET kind = excluded.kind, project = excluded.project, \
            labels = excluded.labels, state = excluded.state, created_at = excluded.created_at, updated_at = excluded.updated_at, \
            version = excluded.version, sandbox = excluded.sandbox WHERE excluded.version > sandboxes.version";
        let encode = |_| Error::internal("the sandbox cannot be encoded");
        let sandbox = &self.sandbox;
        let values = [
            sandbox.id.as_str().into(),
            sandbox.tenant.as_str().into(),
            sandbox.kind.as_str().into(),
            sandbox.project.clone().into(),
            serde_json::to_string(&sandbox.labels).map_err(encode)?.into(),
            sandbox.state.as_str().into(),
            sandbox.created_at.as_str().into(),
            sandbox.updated_at.as_str().into(),
            self.version.into(),
            serde_json::to_string(sandbox).map_err(encode)?.into(),
        ];
        Ok(Statement::new(UPSERT, values))
    }
}
