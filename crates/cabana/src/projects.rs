//! Projects, in the directory's database: what is stored of them, and what may be.

use std::collections::BTreeSet;

use cabana_protocol::{
    Code, Error, Tenant, decode_fields, decode_own,
    names::{invalid_field, quoted},
    network::Network,
    project::{Definition, Project, ProjectName, Projects},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use worker::{Url, js_sys};

use crate::{
    Database, Kinds,
    create::{check_env, unknown_kind},
    database::Statement,
};

/// Longest URL of a repository, in bytes.
const MAX_URL_BYTES: usize = 2_048;

/// Longest script that makes a project ready, in bytes.
const MAX_SETUP_BYTES: usize = 16 << 10;

/// A project as it is stored.
#[allow(missing_debug_implementations)]
pub struct Stored {
    /// Its name.
    pub name: ProjectName,
    /// What it is.
    pub definition: Definition,
    created_at: String,
    updated_at: String,
    version: u64,
}

#[derive(Deserialize)]
struct Row {
    name: ProjectName,
    definition: String,
    created_at: String,
    updated_at: String,
    version: u64,
}

impl Stored {
    /// What is shown of it.
    pub fn show(self) -> Project {
        Project::new(self.name, self.definition, self.created_at, self.updated_at)
    }

    /// Changes the fields that are named; null resets one.
    ///
    /// Fails as [`decode`].
    pub fn change(mut self, changes: Map<String, Value>, kinds: &Kinds) -> Result<Self, Error> {
        let Ok(Value::Object(mut fields)) = serde_json::to_value(&self.definition) else {
            return Err(Error::internal("a project cannot be encoded"));
        };
        fields.extend(changes);
        fields.retain(|_, value| !value.is_null());
        self.definition = decode(fields, kinds)?;
        Ok(self)
    }
}

impl TryFrom<Row> for Stored {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let Row { name, definition, created_at, updated_at, version } = row;
        // The message of serde would quote the value, which may be a secret.
        let definition = decode_own(definition.as_bytes()).map_err(|_| Error::internal("a stored project cannot be decoded"))?;
        Ok(Self { name, definition, created_at, updated_at, version })
    }
}

/// Reads what a project is to be. Messages name fields and no values, which may be secrets.
///
/// Fails with `invalid_request`.
pub fn decode(fields: Map<String, Value>, kinds: &Kinds) -> Result<Definition, Error> {
    let definition: Definition = decode_fields(fields)?;
    check(&definition, kinds)?;
    Ok(definition)
}

fn check(definition: &Definition, kinds: &Kinds) -> Result<(), Error> {
    check_url(&definition.url)?;
    check_env(&definition.env)?;
    definition.network.iter().try_for_each(Network::check)?;
    definition.instance.iter().try_for_each(|instance| instance.check())?;
    if let Some(kind) = definition.kind.as_deref().filter(|kind| !kinds.is_empty() && kinds.get(kind).is_none()) {
        return Err(unknown_kind(kind, kinds.iter().map(|(name, _)| name)));
    }
    if definition.setup.as_ref().is_some_and(|setup| setup.is_empty() || setup.len() > MAX_SETUP_BYTES) {
        return Err(invalid_field("setup", &format!("1 to {MAX_SETUP_BYTES} bytes")));
    }
    if definition.depth == Some(0) {
        return Err(invalid_field("depth", "a whole number from 1"));
    }
    Ok(())
}

/// What the agent would refuse, refused before there is a sandbox. A password in it would be stored, and shown.
fn check_url(url: &str) -> Result<(), Error> {
    let why = match Url::parse(url) {
        _ if url.len() > MAX_URL_BYTES => "a URL of at most 2,048 bytes",
        Ok(parsed) if !matches!(parsed.scheme(), "http" | "https") => "a URL that begins with http:// or https://",
        Ok(parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
            "a URL without credentials, which a request brings"
        }
        Ok(_) => return Ok(()),
        Err(_) => "a URL",
    };
    Err(invalid_field("url", why))
}

/// Stores a new project, or finds one that is the same; true where it is new.
///
/// Fails with `conflict` where there is another one of this name.
pub async fn insert(
    database: &Database,
    tenant: &Tenant,
    name: ProjectName,
    definition: Definition,
) -> Result<(Stored, bool), Error> {
    const INSERT: &str = "INSERT INTO projects (tenant, name, definition, created_at, updated_at, version) VALUES (?, ?, ?, ?, ?, 1) \
                          ON CONFLICT DO NOTHING";
    let now = now();
    let values =
        [tenant.as_str().into(), name.as_str().into(), encode(&definition)?.into(), now.as_str().into(), now.as_str().into()];
    match database.execute(&[Statement::new(INSERT, values)]).await?.as_slice() {
        [0] => {
            let present = get(database, tenant, &name).await?;
            let differing = differing(&present.definition, &definition);
            if differing.is_empty() { Ok((present, false)) } else { Err(exists(&name, &differing)) }
        }
        _ => Ok((Stored { name, definition, created_at: now.clone(), updated_at: now, version: 1 }, true)),
    }
}

/// The project of this name. Fails with `not_found`.
pub async fn get(database: &Database, tenant: &Tenant, name: &ProjectName) -> Result<Stored, Error> {
    let select = "SELECT * FROM projects WHERE tenant = ? AND name = ?";
    let rows = database.query::<Row>(&Statement::new(select, [tenant.as_str().into(), name.as_str().into()])).await?;
    let missing = || Error::not_found(format!("there is no project {name}")).because("no_such_project");
    rows.into_iter().next().ok_or_else(missing)?.try_into()
}

/// The projects whose names come after this one, in their order.
pub async fn list(database: &Database, tenant: &Tenant, after: &str, limit: u32) -> Result<Projects, Error> {
    let select = "SELECT * FROM projects WHERE tenant = ? AND name > ? ORDER BY name LIMIT ?";
    let values = [tenant.as_str().into(), after.into(), u64::from(limit + 1).into()];
    let mut rows = database.query::<Row>(&Statement::new(select, values)).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let cursor = rows.last().filter(|_| more).map(|row| row.name.as_str().to_owned());
    let projects = rows.into_iter().map(|row| Stored::try_from(row).map(Stored::show)).collect::<Result<_, _>>()?;
    Ok(Projects { projects, cursor })
}

/// Stores a project that has changed.
///
/// Fails with `conflict`, to be repeated, where somebody else has changed or deleted it meanwhile.
pub async fn update(database: &Database, tenant: &Tenant, mut project: Stored) -> Result<Stored, Error> {
    const UPDATE: &str =
        "UPDATE projects SET definition = ?, updated_at = ?, version = version + 1 WHERE tenant = ? AND name = ? AND version = ?";
    project.updated_at = now();
    let values = [
        encode(&project.definition)?.into(),
        project.updated_at.as_str().into(),
        tenant.as_str().into(),
        project.name.as_str().into(),
        project.version.into(),
    ];
    match database.execute(&[Statement::new(UPDATE, values)]).await?.as_slice() {
        [0] => Err(Error::new(Code::Conflict, "the project has changed meanwhile: repeat the request").because("changed")),
        _ => Ok(project),
    }
}

/// Forgets a project, if there is one. Its sandboxes stay.
pub async fn delete(database: &Database, tenant: &Tenant, name: &ProjectName) -> Result<(), Error> {
    let delete = "DELETE FROM projects WHERE tenant = ? AND name = ?";
    database.execute(&[Statement::new(delete, [tenant.as_str().into(), name.as_str().into()])]).await.map(drop)
}

/// The fields in which two definitions differ.
fn differing(one: &Definition, other: &Definition) -> Vec<String> {
    let fields = |definition: &Definition| serde_json::to_value(definition).ok().and_then(|value| value.as_object().cloned());
    let (one, other) = (fields(one).unwrap_or_default(), fields(other).unwrap_or_default());
    let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    names.into_iter().filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}

fn exists(name: &ProjectName, differing: &[String]) -> Error {
    let fields: Vec<_> = differing.iter().map(String::as_str).collect();
    let message = format!("the project {name} exists with other settings: {}; change them by PATCH", quoted(&fields, "and"));
    Error::new(Code::Conflict, message).with_details(json!({ "reason": "exists", "differs": differing }))
}

fn encode(definition: &Definition) -> Result<String, Error> {
    serde_json::to_string(definition).map_err(|_| Error::internal("a project cannot be encoded"))
}

fn now() -> String {
    js_sys::Date::new_0().to_iso_string().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn define(fields: Value) -> Result<Definition, Error> {
        let Value::Object(fields) = fields else { panic!("{fields}") };
        decode(fields, &Kinds::default())
    }

    fn stored(fields: Value) -> Stored {
        let definition = define(fields).unwrap();
        Stored { name: "web".parse().unwrap(), definition, created_at: "t".into(), updated_at: "t".into(), version: 1 }
    }

    #[test]
    fn what_is_refused() {
        const URL: &str = "https://example.com/web.git";
        for fields in [
            json!({}),
            json!({ "url": 7 }),
            json!({ "url": URL, "image": "python" }),
            json!({ "url": "web" }),
            json!({ "url": "file:///etc" }),
            json!({ "url": "ssh://git@example.com/web" }),
            json!({ "url": "https://ada:hunter2@example.com/web" }),
            json!({ "url": "https://hunter2@example.com/web" }),
            json!({ "url": format!("https://example.com/{}", "a".repeat(2_048)) }),
            json!({ "url": URL, "env": { "A": "hunter2\u{0}" } }),
            json!({ "url": URL, "env": { "CABANA_A": "hunter2" } }),
            json!({ "url": URL, "env": { "A": ["hunter2"] } }),
            json!({ "url": URL, "instance": "huge" }),
            json!({ "url": URL, "instance": { "vcpu": 9, "memory_mib": 1, "disk_mb": 1 } }),
            json!({ "url": URL, "depth": 0 }),
            json!({ "url": URL, "depth": -1 }),
            json!({ "url": URL, "setup": "" }),
            json!({ "url": URL, "setup": "a".repeat(16_385) }),
        ] {
            let error = define(fields.clone()).map(drop).unwrap_err();
            assert!(error.code == Code::InvalidRequest && !error.message.contains("hunter2"), "{fields}: {}", error.message);
        }
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let before = json!({ "url": "https://example.com/a", "branch": "main", "setup": "make", "env": { "A": "1", "B": null } });
        let changes = json!({ "url": "https://example.com/b", "setup": null, "env": { "C": "2" } });
        let Value::Object(changes) = changes else { panic!() };
        let after = stored(before).change(changes, &Kinds::default()).map_err(|error| error.message);
        let Definition { url, branch, setup, env, .. } = after.map(|project| project.definition).ok().unwrap();
        assert_eq!((url.as_str(), branch.as_deref(), setup), ("https://example.com/b", Some("main"), None));
        assert_eq!(env, [("C".to_owned(), Some("2".to_owned()))].into());
    }
}
