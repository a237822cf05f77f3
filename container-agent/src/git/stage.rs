//! Staging.

use cabana_protocol::{Error, file::FilePath, git::Add};

use super::{call::Call, repository::Repository};

pub(super) async fn add(repository: &Repository, request: &Add) -> Result<(), Error> {
    let call = match (request.all, request.paths.as_slice()) {
        (true, []) => Call::new(["add", "--all"]),
        (false, [_, ..]) => Call::new(["add", "--pathspec-from-file=-", "--pathspec-file-nul"]).stdin(separated(&request.paths)?),
        _ => return Err(Error::invalid_request("either paths or all")),
    };
    repository.git(call).await.map(drop)
}

/// Paths of any bytes, each ended by a NUL.
fn separated(paths: &[FilePath]) -> Result<Vec<u8>, Error> {
    if paths.iter().any(|path| path.as_bytes().is_empty() || path.as_bytes().contains(&0)) {
        return Err(Error::invalid_request("a path is empty or holds a NUL byte"));
    }
    Ok(paths.iter().flat_map(|path| [path.as_bytes(), b"\0"].concat()).collect())
}
