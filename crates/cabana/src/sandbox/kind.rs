//! Of which kind a sandbox is, and how large.

use cabana_protocol::{Error, SandboxId, sandbox::Instance};

use super::life::Life;
use crate::create::unknown_kind;

impl Life {
    /// The kind of a sandbox of this id, and its size; `None`: as the platform likes.
    ///
    /// Fails with `invalid_request` where there is no such kind, or there are no sizes to choose from.
    pub(super) fn kind_of(&self, id: &SandboxId, wanted: Option<Instance>) -> Result<(String, Option<Instance>), Error> {
        let kinds = &self.config.as_ref().map_err(Clone::clone)?.kinds;
        let container = self.container()?;
        let images = container.kinds();
        let declared = kinds.iter().map(|(name, _)| name);
        let kind = id.kind_among(declared.chain(images.iter().map(String::as_str)));
        let image = container.image(kind).map_err(|unknown| unknown_kind(kind, unknown.known.iter().map(String::as_str)))?;
        if image.is_none() && wanted.is_some() {
            return Err(Error::invalid_request("instance: the size of these containers is fixed in wrangler.jsonc"));
        }
        let usual = image.and_then(|_| kinds.get(kind)).map(|kind| kind.instance);
        Ok((kind.to_owned(), wanted.or(usual)))
    }
}
