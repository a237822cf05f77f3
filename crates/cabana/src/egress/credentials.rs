//! The headers with secrets that a request gets outside the sandbox, and what keeps them from coming back.

use cabana_protocol::{
    Tenant,
    network::{NetworkSecret, SecretScheme},
};
use data_encoding::BASE64;
use futures_util::{StreamExt, stream};
use js_sys::Uint8Array;
use worker::{
    Env, Headers, Response, ResponseBody, ResponseBuilder,
    wasm_bindgen::{JsCast, JsValue},
    web_sys::ReadableStream,
};

use super::redactor::Redactor;
use crate::secrets::{self, Refusal, SecretValue};

/// Headers of a request by which a server would send part of what it has: a secret that comes in two parts is in neither.
const PARTIAL: [&str; 2] = ["range", "if-range"];

/// What an answer may be encoded with: the runtime decodes these, and what is not decoded cannot be looked through.
const DECODED: [&str; 3] = ["identity", "gzip", "br"];

/// The secrets of one request.
#[derive(Default)]
pub(super) struct Credentials(Vec<Credential>);

struct Credential {
    header: String,
    scheme: Option<SecretScheme>,
    value: SecretValue,
}

impl Credentials {
    /// Finds the values of secrets. Fails with the secret that cannot be had, and why.
    pub(super) async fn find<'a>(
        env: &Env,
        tenant: &Tenant,
        wanted: Vec<&'a NetworkSecret>,
    ) -> Result<Self, (&'a NetworkSecret, Refusal)> {
        let mut found = Vec::new();
        for secret in wanted {
            let value = secrets::find_value(env, tenant, secret).await.map_err(|refusal| (secret, refusal))?;
            found.push(Credential { header: secret.header.clone(), scheme: secret.scheme, value });
        }
        Ok(Self(found))
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets the headers, in place of what the sandbox has sent under their names.
    pub(super) fn add_to(&self, headers: &Headers) -> worker::Result<()> {
        for name in PARTIAL {
            headers.delete(name)?;
        }
        headers.set("accept-encoding", "identity")?;
        self.0.iter().try_for_each(|credential| headers.set(&credential.header, &credential.header_value()))
    }

    /// The answer without the secrets. Fails where it cannot be looked through.
    pub(super) fn take_from(&self, response: Response) -> Result<Response, &'static str> {
        let encoding = response.headers().get("content-encoding").ok().flatten().unwrap_or_default().to_ascii_lowercase();
        let is_decoded = encoding.is_empty() || DECODED.contains(&encoding.as_str());
        if !is_decoded {
            return Err("its answer has an encoding that cannot be looked through");
        }
        if response.status_code() == 101 {
            return Err("it has opened a WebSocket");
        }
        let redactor = Redactor::new(self.0.iter().flat_map(|credential| credential.parts()));
        let status = response.status_code();
        let headers =
            self.clean(response.headers(), &redactor, !encoding.is_empty()).map_err(|_| "its headers cannot be copied")?;
        let builder = ResponseBuilder::new().with_status(status).with_headers(headers);
        Ok(match response.into_parts().1 {
            ResponseBody::Stream(body) => builder.body(ResponseBody::Stream(redact(body, redactor))),
            body => builder.body(body),
        })
    }

    /// Headers that hold no secret. One that holds it goes whole: nobody asks for it.
    fn clean(&self, headers: &Headers, redactor: &Redactor, was_encoded: bool) -> worker::Result<Headers> {
        let clean = Headers::new();
        for (name, value) in headers.entries() {
            let describes_encoding = was_encoded && ["content-encoding", "content-length"].contains(&name.as_str());
            if !describes_encoding && !redactor.finds(&value) {
                clean.append(&name, &value)?;
            }
        }
        Ok(clean)
    }
}

impl Credential {
    fn header_value(&self) -> String {
        let value = self.value.expose();
        match self.scheme {
            None => value.to_owned(),
            Some(SecretScheme::Bearer) => format!("Bearer {value}"),
            Some(SecretScheme::Basic) => format!("Basic {}", BASE64.encode(value.as_bytes())),
        }
    }

    /// What is not to come back: the secret, and of `user:password` the password by itself.
    fn parts(&self) -> impl Iterator<Item = &str> {
        let value = self.value.expose();
        let password = value.split_once(':').filter(|_| self.scheme == Some(SecretScheme::Basic)).map(|(_, password)| password);
        [Some(value), password].into_iter().flatten()
    }
}

/// A body without secrets, piece by piece as it comes.
fn redact(body: ReadableStream, redactor: Redactor) -> ReadableStream {
    let pieces = wasm_streams::ReadableStream::from_raw(body.unchecked_into()).into_stream();
    let redacted = stream::unfold(Some((pieces, redactor)), |state| async move {
        let (mut pieces, mut redactor) = state?;
        loop {
            match pieces.next().await {
                Some(Ok(piece)) => {
                    let bytes = redactor.push(&Uint8Array::new(&piece).to_vec());
                    // Where all of it is held back, the next piece decides.
                    if !bytes.is_empty() {
                        return Some((Ok(piece_of(&bytes)), Some((pieces, redactor))));
                    }
                }
                Some(Err(error)) => return Some((Err(error), None)),
                None => return Some((Ok(piece_of(&redactor.finish())), None)),
            }
        }
    });
    wasm_streams::ReadableStream::from_stream(redacted).into_raw().unchecked_into()
}

fn piece_of(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}
