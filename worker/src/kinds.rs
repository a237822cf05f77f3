//! `GET /v1/kinds`.

use cabana::Kinds;
use cabana_protocol::{Error, sandbox};
use worker::Response;

use crate::call::Call;

/// Shows the kinds of sandboxes that there are, with what a sandbox of each gets.
pub fn list(call: &Call) -> Result<Response, Error> {
    let kinds = Kinds::read(&call.env)?;
    let kinds = kinds.iter().map(|(name, kind)| describe(name, kind)).collect();
    Ok(call.json(200, &sandbox::SandboxKinds { kinds }))
}

fn describe(name: &str, kind: &cabana::Kind) -> sandbox::SandboxKind {
    sandbox::SandboxKind {
        name: name.to_owned(),
        description: kind.description.clone(),
        image: kind.image.clone(),
        instance: kind.instance,
        resources: kind.instance.resources(),
        sleep_after_ms: kind.sleep_after_ms,
    }
}
