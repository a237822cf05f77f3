//! Who is calling, and how the Worker tells the Durable Object. Pure.

use cabana_protocol::{Access, Code, Error, KeyId, Scopes, Tenant, decode_own};
use serde::{Deserialize, Serialize};

/// The header in which a request carries its principal from the Worker to the Durable Object. Nobody outside can set it: whatever
/// comes in under this name is replaced.
pub(crate) const HEADER: &str = "x-cabana-principal";

/// The header in which it says what the request amounts to, see [`Access`]; replaced in the same way.
pub(crate) const OPERATION_HEADER: &str = "x-cabana-operation";

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
    /// Whether the caller is unknown: a visitor of a preview that is public or opened by its token. Such a caller sees no sandbox.
    #[serde(default)]
    pub anonymous: bool,
    /// What the caller may do.
    #[serde(default)]
    pub scopes: Scopes,
    /// When the credentials end, in milliseconds since 1970; `None`: not by themselves.
    #[serde(default)]
    pub expires_at_ms: Option<u64>,
    /// The API key that the credentials are, or were made with: they end with it.
    #[serde(default)]
    pub key: Option<KeyId>,
    /// Whether the credentials were handed on by others, as a connect token is. Such credentials make none in turn.
    #[serde(default)]
    pub delegated: bool,
}

/// The families of operations that make credentials.
const GRANTING: [&str; 2] = [Scopes::KEY_FAMILY, "token"];

impl Principal {
    /// Whoever runs the deployment: may do everything, on the sandboxes of all tenants. What it makes belongs to the default tenant.
    pub fn operator() -> Self {
        let (id, tenant, scopes) = ("operator".to_owned(), Tenant::default(), Scopes::default());
        Self { id, tenant, operator: true, anonymous: false, scopes, expires_at_ms: None, key: None, delegated: false }
    }

    /// A visitor of a preview who has shown no credentials. Has no scopes and sees no sandbox: what opens a preview is the key in its URL.
    pub fn visitor() -> Self {
        let scopes = Scopes { sandboxes: Some(Vec::new()), operations: Some(Vec::new()), read_only: true };
        Self { id: "visitor".to_owned(), operator: false, anonymous: true, scopes, delegated: true, ..Self::operator() }
    }

    /// The caller, who names the tenant whose sandboxes are meant: an operator becomes a caller of that tenant, with the scopes of a key that
    /// has none named.
    ///
    /// Fails with `forbidden` where it is another tenant's caller.
    pub fn acting_for(self, tenant: Tenant) -> Result<Self, Error> {
        if self.operator {
            return Ok(Self { tenant, operator: false, ..self });
        }
        let is_own = self.tenant == tenant;
        is_own.then_some(self).ok_or_else(|| Error::new(Code::Forbidden, "only operators act for other tenants"))
    }

    /// Whether the caller may do this, as far as its scopes go; whose the sandbox is, its Durable Object knows.
    ///
    /// Fails with `forbidden`.
    pub fn check(&self, access: &Access<'_>) -> Result<(), Error> {
        let family = access.operation.split('.').next().unwrap_or_default();
        if self.delegated && GRANTING.contains(&family) {
            return Err(Error::new(Code::Forbidden, "credentials that were handed on make none in turn"));
        }
        if self.operator { Ok(()) } else { self.scopes.check(access) }
    }

    /// As [`Self::check`], where it is not known yet on which sandbox: it is to be asked again with the sandbox.
    pub fn check_operation(&self, access: &Access<'_>) -> Result<(), Error> {
        if self.operator { Ok(()) } else { self.scopes.check_operation(access) }
    }

    /// Whether the caller may give these scopes away: no more than it has.
    ///
    /// Fails with `forbidden`.
    pub fn check_gift(&self, scopes: &Scopes) -> Result<(), Error> {
        if self.operator || self.scopes.covers(scopes) {
            return Ok(());
        }
        Err(Error::new(Code::Forbidden, "these scopes are more than your own credentials are good for"))
    }

    /// Whether what belongs to `owner` is there for the caller.
    pub fn sees(&self, owner: &Tenant) -> bool {
        !self.anonymous && (self.operator || self.tenant == *owner)
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

    /// Undoes [`Self::encode`]. A request without the header is refused: only a principal that is named may do anything.
    pub(crate) fn decode(header: Option<&str>) -> Result<Self, Error> {
        let header = header.ok_or_else(|| Error::internal("a request reached the sandbox's object without a principal"))?;
        decode_own(header.as_bytes()).map_err(|_| Error::internal("the principal cannot be decoded"))
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
            let key = "abcdefghijklmnopqrstuvwx27".parse().ok();
            let principal = Principal { id: id.to_owned(), expires_at_ms: Some(7), key, delegated: true, ..tenant("a") };
            let header = principal.encode();
            assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{header}");
            assert_eq!(Principal::decode(Some(&header)), Ok(principal));
        }
    }

    #[test]
    fn requests_without_a_principal_are_refused() {
        for header in [None, Some(""), Some("{}"), Some("operator")] {
            assert_eq!(Principal::decode(header).unwrap_err().code, Code::Internal, "{header:?}");
        }
    }

    #[test]
    fn visitors_see_no_sandbox_and_may_do_nothing() {
        let visitor = Principal::visitor();
        assert!(!visitor.sees(&Tenant::default()) && !visitor.sees(&"a".parse().unwrap()));
        for operation in ["exec", "port.proxy", "sandbox.get", "key.list"] {
            assert!(visitor.check(&Access { sandbox: None, operation, read_only: true }).is_err(), "{operation}");
        }
    }

    #[test]
    fn tenants_see_their_own() {
        let (a, b) = (tenant("a"), tenant("b"));
        assert!(a.sees(&a.tenant) && !a.sees(&b.tenant) && Principal::operator().sees(&b.tenant));
    }

    #[test]
    fn an_operator_that_names_a_tenant_is_its_caller() {
        let acting = Principal::operator().acting_for("a".parse().unwrap()).unwrap();
        assert!(acting.sees(&"a".parse().unwrap()) && !acting.sees(&Tenant::default()));
        for (operation, allowed) in [("exec", true), ("sandbox.delete", true), ("key.create", false)] {
            assert_eq!(acting.check(&Access { sandbox: None, operation, read_only: false }).is_ok(), allowed, "{operation}");
        }
        assert_eq!(tenant("a").acting_for("a".parse().unwrap()), Ok(tenant("a")));
        assert_eq!(tenant("a").acting_for("b".parse().unwrap()).unwrap_err().code, Code::Forbidden);
    }

    #[test]
    fn what_was_handed_on_makes_no_credentials() {
        let token = Principal { delegated: true, ..tenant("a") };
        for (operation, allowed) in [("exec", true), ("token.create", false), ("key.list", false), ("tokens", true)] {
            let access = Access { sandbox: None, operation, read_only: true };
            assert_eq!(token.check(&access).is_ok(), allowed, "{operation}");
        }
    }

    #[test]
    fn nobody_gives_away_more_than_he_has() {
        let all = Scopes::default();
        let some = Scopes { read_only: true, ..Scopes::default() };
        let reader = Principal { scopes: some.clone(), ..tenant("a") };
        assert!(tenant("a").check_gift(&some).is_ok() && reader.check_gift(&all).is_err());
        assert!(Principal::operator().check_gift(&Scopes { operations: Some(vec!["key".to_owned()]), ..all }).is_ok());
    }

    #[test]
    fn the_operator_needs_no_scope() {
        let access = Access { sandbox: None, operation: "key.create", read_only: false };
        assert!(Principal::operator().check(&access).is_ok() && tenant("a").check(&access).is_err());
    }
}
