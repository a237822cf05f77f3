//! Who is calling, and how the Worker tells the Durable Object. Pure.

use cabana_protocol::{Access, Code, Error, Scopes, Tenant};
use serde::{Deserialize, Serialize};

/// The header in which a request carries its principal from the Worker to the Durable Object. Nobody outside can set it: whatever
/// comes in under this name is replaced.
pub(crate) const HEADER: &str = "x-cabana-principal";

/// Who is calling, once that is established.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The name under which the audit knows the caller, for instance `key:k3x9`. It is no secret.
    pub id: String,
    /// Whose sandboxes the caller sees, and to whom those belong that it makes.
    pub tenant: Tenant,
    /// Whether the caller sees every tenant's.
    #[serde(default)]
    pub operator: bool,
    /// What the caller may do.
    #[serde(default)]
    pub scopes: Scopes,
    /// When the credentials end, in milliseconds since 1970; `None`: not by themselves.
    #[serde(default)]
    pub expires_at_ms: Option<u64>,
}

impl Principal {
    /// Whoever runs the deployment: may do everything, on the sandboxes of all tenants. What it makes belongs to the default tenant.
    pub fn operator() -> Self {
        let scopes = Scopes::default();
        Self { id: "operator".to_owned(), tenant: Tenant::default(), operator: true, scopes, expires_at_ms: None }
    }

    /// Whether the caller may do this, as far as its scopes go; whose the sandbox is, its Durable Object knows.
    ///
    /// Fails with `forbidden`.
    pub fn check(&self, access: &Access<'_>) -> Result<(), Error> {
        if self.operator { Ok(()) } else { self.scopes.check(access) }
    }

    /// As [`Self::check`], where it is not known yet on which sandbox: it is to be asked again with the sandbox.
    pub fn check_operation(&self, access: &Access<'_>) -> Result<(), Error> {
        if self.operator { Ok(()) } else { self.scopes.check_operation(access) }
    }

    /// Whether what belongs to `owner` is there for the caller.
    pub fn sees(&self, owner: &Tenant) -> bool {
        self.operator || self.tenant == *owner
    }

    /// For [`HEADER`]. Characters outside ASCII are escaped, as JSON allows.
    pub(crate) fn encode(&self) -> String {
        let json = serde_json::to_string(self).expect("a principal has string keys and no failing serialisers");
        let escape = |char: char| match char {
            ' '..='~' => String::from(char),
            other => other.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        };
        json.chars().map(escape).collect()
    }

    /// Undoes [`Self::encode`]. A request without the header comes from code of the Worker itself, which may do everything.
    pub(crate) fn decode(header: Option<&str>) -> Result<Self, Error> {
        let Some(header) = header else { return Ok(Self::operator()) };
        serde_json::from_str(header).map_err(|_| Error::new(Code::Internal, "the principal cannot be decoded"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Principal {
        Principal { id: format!("key:{name}"), tenant: name.parse().unwrap(), operator: false, ..Principal::operator() }
    }

    #[test]
    fn it_survives_the_header() {
        for id in ["key:a", "jwt:Zo\u{eb} \u{1f980}\n\"x\"", ""] {
            let principal = Principal { id: id.to_owned(), expires_at_ms: Some(7), ..tenant("a") };
            let header = principal.encode();
            assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{header}");
            assert_eq!(Principal::decode(Some(&header)), Ok(principal));
        }
        assert_eq!(Principal::decode(None), Ok(Principal::operator()));
        assert!(Principal::decode(Some("{}")).is_err());
    }

    #[test]
    fn tenants_see_their_own() {
        let (a, b) = (tenant("a"), tenant("b"));
        assert!(a.sees(&a.tenant) && !a.sees(&b.tenant) && Principal::operator().sees(&b.tenant));
    }

    #[test]
    fn the_operator_needs_no_scope() {
        let access = Access { sandbox: None, operation: "key.create", read_only: false };
        assert!(Principal::operator().check(&access).is_ok() && tenant("a").check(&access).is_err());
    }
}
