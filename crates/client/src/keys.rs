//! API keys.

use cabana_protocol::key::{CreateKey, Key, KeyId, KeyPage, NewKey, UpdateKey};
use http::Method;

use crate::{Client, Result, request::Request};

impl Client {
    /// Makes a key. Only this answer contains it.
    pub async fn create_key(&self, request: &CreateKey) -> Result<NewKey> {
        self.json(Request::new(Method::POST, "/v1/keys").with_json(request)?).await
    }

    /// A page of keys, the newest first; the next one begins at the answer's `cursor`. `revoked` shows those that were revoked, too.
    pub async fn keys(&self, revoked: bool, cursor: Option<&str>) -> Result<KeyPage> {
        let mut request = Request::new(Method::GET, "/v1/keys");
        if revoked {
            request = request.with_query("revoked", "true");
        }
        self.json(cursor.into_iter().fold(request, |request, cursor| request.with_query("cursor", cursor))).await
    }

    /// Shows a key.
    pub async fn key(&self, id: &KeyId) -> Result<Key> {
        self.json(Request::new(Method::GET, format!("/v1/keys/{id}"))).await
    }

    /// Renames a key.
    pub async fn rename_key(&self, id: &KeyId, name: &str) -> Result<Key> {
        let body = UpdateKey { name: name.to_owned() };
        self.json(Request::new(Method::PATCH, format!("/v1/keys/{id}")).with_json(&body)?.idempotent(true)).await
    }

    /// Revokes a key. It may be revoked already.
    pub async fn revoke_key(&self, id: &KeyId) -> Result<()> {
        self.empty(Request::new(Method::DELETE, format!("/v1/keys/{id}"))).await
    }
}
