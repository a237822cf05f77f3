//! What is asked of the directory, as SQL, and what comes of it, as a page. Pure.

use cabana_protocol::{
    Code, Error, Tenant, decode_own, decode_parameter,
    names::{invalid_parameter, unknown_parameter},
    sandbox::{ListSandboxes, MAX_LABELS, MAX_LIMIT, Order, Sandboxes, Sort, State},
};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use worker::url::form_urlencoded;

use crate::{
    Principal,
    database::{Statement, Value},
    route::LIST_PARAMETERS,
};

/// Longest pattern that D1 compares with, in bytes.
const MAX_PATTERN_BYTES: usize = 50;

/// A row of the answer.
#[derive(Deserialize)]
pub(super) struct Row {
    id: String,
    tenant: String,
    /// What it is sorted by.
    place: String,
    sandbox: String,
}

/// Reads the query of a URL. Unknown parameters are refused: a filter that is misspelt must not list everything.
///
/// Fails with `invalid_request`.
pub(super) fn parse(query: &str) -> Result<ListSandboxes, Error> {
    let mut request = ListSandboxes::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "label" => request.labels.push(label(&value)),
            "kind" => request.kind = Some(value.into_owned()),
            "project" => request.project = Some(value.into_owned()),
            "state" => request.state = Some(decode_parameter(&name, &value)?),
            "name" => request.name = Some(value.replace('_', "-").to_ascii_lowercase()),
            "tenant" => request.tenant = Some(value.parse()?),
            "sort" => request.sort = decode_parameter(&name, &value)?,
            "order" => request.order = decode_parameter(&name, &value)?,
            "limit" => request.limit = limit(&value)?,
            "cursor" => request.cursor = Some(value.into_owned()),
            _ => return Err(unknown_parameter(&name, LIST_PARAMETERS)),
        }
    }
    if request.labels.len() > MAX_LABELS {
        return Err(invalid_parameter("label", &format!("at most {MAX_LABELS} labels")));
    }
    Ok(request)
}

/// What to ask the database, so that nothing comes of it that `principal` may not see.
///
/// Fails with `invalid_request` (the cursor is of another list) and `forbidden` (another tenant's).
pub(super) fn statement(request: &ListSandboxes, principal: &Principal) -> Result<Statement, Error> {
    let mut filter = Filter::default();
    filter.add("state <> ?", [State::Destroyed.as_str().into()]);
    if let Some(tenant) = tenant(request, principal)? {
        filter.add("tenant = ?", [tenant.as_str().into()]);
    }
    if let Some(patterns) = principal.scopes.sandboxes.as_ref().filter(|_| !principal.operator) {
        let patterns: Vec<_> = patterns.iter().filter_map(|pattern| glob(pattern)).collect();
        let patterns = serde_json::to_string(&patterns).map_err(|_| Error::internal("the patterns cannot be encoded"))?;
        filter.add("EXISTS (SELECT 1 FROM json_each(?) AS pattern WHERE id GLOB pattern.value)", [patterns.into()]);
    }
    filter.equals("kind", request.kind.as_deref());
    filter.equals("project", request.project.as_deref());
    filter.equals("state", request.state.map(State::as_str));
    filter.equals("substr(id, length(kind) + 2)", request.name.as_deref());
    for (name, value) in &request.labels {
        match value {
            Some(value) => filter.label("label.key = ? AND label.value = ?", [name.as_str().into(), value.as_str().into()]),
            None => filter.label("label.key = ?", [name.as_str().into()]),
        }
    }
    let column = column(request.sort);
    let (direction, comparison) = if request.order == Order::Asc { ("ASC", '>') } else { ("DESC", '<') };
    if let Some(cursor) = &request.cursor {
        let Cursor { place, id, tenant, .. } = Cursor::decode(cursor, request)?;
        filter.add(&format!("({column}, id, tenant) {comparison} (?, ?, ?)"), [place.into(), id.into(), tenant.into()]);
    }
    let Filter { clauses, mut values } = filter;
    // One more than asked for tells whether there is a next page.
    values.push(u64::from(request.limit + 1).into());
    let clauses = clauses.join(" AND ");
    let order = format!("{column} {direction}, id {direction}, tenant {direction}");
    let sql = format!("SELECT id, tenant, {column} AS place, sandbox FROM sandboxes WHERE {clauses} ORDER BY {order} LIMIT ?");
    Ok(Statement { sql, values })
}

/// The answer to `request`, from the rows of each database.
pub(super) fn page(request: &ListSandboxes, mut rows: Vec<Row>) -> Result<Sandboxes, Error> {
    rows.sort_by(|one, other| {
        let order = one.key().cmp(&other.key());
        if request.order == Order::Asc { order } else { order.reverse() }
    });
    let more = rows.len() > request.limit as usize;
    rows.truncate(request.limit as usize);
    let cursor = rows.last().filter(|_| more).map(|row| Cursor::after(row, request).encode());
    let decode =
        |row: Row| decode_own(row.sandbox.as_bytes()).map_err(|_| Error::internal("a row of the directory cannot be read"));
    let sandboxes = rows.into_iter().map(decode).collect::<Result<_, _>>()?;
    Ok(Sandboxes { sandboxes, cursor })
}

/// Conditions that must all hold.
#[derive(Default)]
struct Filter {
    clauses: Vec<String>,
    values: Vec<Value>,
}

impl Filter {
    fn add(&mut self, clause: &str, values: impl IntoIterator<Item = Value>) {
        self.clauses.push(clause.to_owned());
        self.values.extend(values);
    }

    fn equals(&mut self, expression: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(&format!("{expression} = ?"), [value.into()]);
        }
    }

    fn label(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.add(&format!("EXISTS (SELECT 1 FROM json_each(labels) AS label WHERE {condition})"), values);
    }
}

/// Where a page ends. It says which list it is of: in another order it would skip some and show others twice.
#[derive(serde::Serialize, Deserialize)]
struct Cursor {
    sort: Sort,
    order: Order,
    place: String,
    id: String,
    tenant: String,
}

impl Row {
    /// What rows are sorted by, as the database compares it: by bytes.
    fn key(&self) -> (&str, &str, &str) {
        (&self.place, &self.id, &self.tenant)
    }
}

impl Cursor {
    fn after(row: &Row, request: &ListSandboxes) -> Self {
        Self {
            sort: request.sort,
            order: request.order,
            place: row.place.clone(),
            id: row.id.clone(),
            tenant: row.tenant.clone(),
        }
    }

    fn encode(&self) -> String {
        BASE64URL_NOPAD.encode(&serde_json::to_vec(self).expect("a cursor has string keys and no failing serialisers"))
    }

    fn decode(text: &str, request: &ListSandboxes) -> Result<Self, Error> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        let cursor: Option<Self> = bytes.and_then(|bytes| decode_own(&bytes).ok());
        let cursor =
            cursor.ok_or_else(|| Error::invalid_request("the parameter `cursor` takes what a page gave as its cursor"))?;
        if (cursor.sort, cursor.order) != (request.sort, request.order) {
            return Err(Error::invalid_request("the parameter `cursor` is of a list in another order"));
        }
        Ok(cursor)
    }
}

fn column(sort: Sort) -> &'static str {
    match sort {
        Sort::CreatedAt => "created_at",
        Sort::UpdatedAt => "updated_at",
        Sort::Id => "id",
    }
}

/// Whose sandboxes; `None`: everyone's.
pub(super) fn tenant<'a>(request: &'a ListSandboxes, principal: &'a Principal) -> Result<Option<&'a Tenant>, Error> {
    match &request.tenant {
        Some(tenant) if principal.sees(tenant) => Ok(Some(tenant)),
        Some(_) => Err(Error::new(Code::Forbidden, "only operators list the sandboxes of other tenants")),
        None if principal.operator => Ok(None),
        None => Ok(Some(&principal.tenant)),
    }
}

/// A pattern of scopes, in which only `*` is special, as one of SQLite's. `None` where it is too long for D1, and so for any id.
fn glob(pattern: &str) -> Option<String> {
    let mut glob = String::new();
    for char in pattern.chars() {
        match char {
            '*' if glob.ends_with('*') => {}
            '?' | '[' => glob.extend(['[', char, ']']),
            char => glob.push(char),
        }
    }
    (glob.len() <= MAX_PATTERN_BYTES).then_some(glob)
}

fn label(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    }
}

fn limit(value: &str) -> Result<u32, Error> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| invalid_parameter("limit", &format!("a whole number from 1 to {MAX_LIMIT}")))
}

#[cfg(test)]
mod tests {
    use cabana_protocol::Scopes;

    use super::*;

    fn ask(query: &str, principal: &Principal) -> Result<Statement, Error> {
        statement(&parse(query)?, principal)
    }

    fn tenant_with(sandboxes: &[&str]) -> Principal {
        let scopes = Scopes {
            sandboxes: (!sandboxes.is_empty()).then(|| sandboxes.iter().map(|&pattern| pattern.to_owned()).collect()),
            ..Scopes::default()
        };
        Principal { tenant: "a".parse().unwrap(), operator: false, scopes, ..Principal::operator() }
    }

    #[test]
    fn each_filter_has_its_clause_and_its_values() {
        for (query, clause, value) in [
            ("kind=py", "kind = ?", "py"),
            ("project=web", "project = ?", "web"),
            ("state=running", "state = ?", "running"),
            ("name=Build_7", "substr(id, length(kind) + 2) = ?", "build-7"),
            ("tenant=b", "tenant = ?", "b"),
            ("label=a%3D", "label.key = ? AND label.value = ?", "a"),
            ("label=a", "WHERE label.key = ?)", "a"),
        ] {
            let found = ask(query, &Principal::operator()).unwrap();
            assert!(found.sql.contains(clause) && found.values.contains(&value.into()), "{query}: {found:?}");
        }
    }

    #[test]
    fn as_many_values_as_parameters() {
        let query = "label=a=b&label=c&kind=py&project=p&state=failed&name=n&sort=updated_at&order=asc&limit=7";
        for principal in [Principal::operator(), tenant_with(&[]), tenant_with(&["sbx-*", "x"])] {
            let found = ask(query, &principal).unwrap();
            assert_eq!(found.sql.matches('?').count(), found.values.len(), "{found:?}");
            assert_eq!(found.values.last(), Some(&Value::Number(8.0)));
        }
    }

    #[test]
    fn nobody_sees_more_than_his_tenants() {
        for query in ["", "tenant=a", "kind=py"] {
            let found = ask(query, &tenant_with(&[])).unwrap();
            assert!(found.sql.contains("tenant = ?") && found.values.contains(&"a".into()), "{query}");
        }
        assert_eq!(ask("tenant=b", &tenant_with(&[])).unwrap_err().code, Code::Forbidden);
        assert!(!ask("", &Principal::operator()).unwrap().sql.contains("tenant = ?"));
    }

    #[test]
    fn nobody_sees_more_than_his_scopes() {
        let found = ask("", &tenant_with(&["sbx-**", "a?[b]", &"long".repeat(20)])).unwrap();
        assert!(found.sql.contains("id GLOB") && found.values.contains(&r#"["sbx-*","a[?][[]b]"]"#.into()), "{found:?}");
    }

    #[test]
    fn what_is_refused() {
        for query in [
            "lable=a",
            "state=asleep",
            "sort=name",
            "order=up",
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=",
            "tenant=A",
            "cursor=x",
            "cursor=e30",
            &"label=a&".repeat(33),
        ] {
            assert_eq!(ask(query, &Principal::operator()).unwrap_err().code, Code::InvalidRequest, "{query}");
        }
    }

    #[test]
    fn pages_follow_each_other() {
        let row = |id: &str| {
            let sandbox = format!(r#"{{"id":"{id}","kind":"sbx","state":"running","created_at":"t"}}"#);
            Row { id: id.to_owned(), tenant: "a".to_owned(), place: "2026".to_owned(), sandbox }
        };
        let request = parse("limit=2&order=asc").unwrap();
        let last = page(&request, vec![row("sbx-a"), row("sbx-b")]).unwrap();
        assert_eq!((last.sandboxes.len(), last.cursor), (2, None));
        let first = page(&request, vec![row("sbx-a"), row("sbx-b"), row("sbx-c")]).unwrap();
        let cursor = first.cursor.unwrap();
        assert_eq!(first.sandboxes.last().map(|sandbox| sandbox.id.as_str()), Some("sbx-b"));
        let next = ask(&format!("limit=2&order=asc&cursor={cursor}"), &Principal::operator()).unwrap();
        assert!(next.sql.contains("(created_at, id, tenant) > (?, ?, ?)") && next.values.contains(&"sbx-b".into()), "{next:?}");
        let other = ask(&format!("order=desc&cursor={cursor}"), &Principal::operator());
        assert_eq!(other.unwrap_err().code, Code::InvalidRequest);
    }
}
