//! Images that a cell shows, as files.

use std::{fs, io::Write, path::PathBuf};

use anyhow::{Context as _, Result};
use cabana_client::protocol::code::Bundle;
use data_encoding::BASE64_MIME_PERMISSIVE;
use serde_json::Value;

/// Forms of images, and the ends of their files' names; the first that there is is kept.
const FORMS: [(&str, &str); 5] =
    [("image/png", "png"), ("image/jpeg", "jpg"), ("image/gif", "gif"), ("image/webp", "webp"), ("image/svg+xml", "svg")];

/// Where images go.
#[derive(Debug)]
pub(super) struct Images {
    directory: PathBuf,
    next: u32,
}

impl Images {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, next: 1 }
    }

    /// Writes the image in the bundle, if there is one, to a file that was not there.
    pub(super) fn save(&mut self, bundle: &Bundle) -> Result<Option<PathBuf>> {
        let found = FORMS.iter().find_map(|(form, end)| Some((bundle.get(*form).and_then(Value::as_str)?, *end)));
        let Some((text, end)) = found else { return Ok(None) };
        let content = match end {
            "svg" => text.as_bytes().to_vec(),
            _ => BASE64_MIME_PERMISSIVE.decode(text.as_bytes()).context("an image of the cell is no base64")?,
        };
        let about = || format!("write an image to {}", self.directory.display());
        fs::create_dir_all(&self.directory).with_context(about)?;
        loop {
            let path = self.directory.join(format!("cabana-{}.{end}", self.next));
            self.next += 1;
            match fs::File::create_new(&path) {
                Ok(mut file) => {
                    file.write_all(&content).with_context(about)?;
                    return Ok(Some(path));
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(about),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Images;
    use serde_json::json;
    use std::fs;

    #[test]
    fn images_become_files_and_replace_none() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("cabana-1.png"), "mine").unwrap();
        let mut images = Images::new(directory.path().to_owned());
        let bundle = [("image/png".to_owned(), json!("aGk=\n")), ("text/plain".to_owned(), json!("<Figure>"))].into();
        let path = images.save(&bundle).unwrap().unwrap();
        assert_eq!((path.file_name().unwrap().to_str().unwrap(), fs::read(&path).unwrap()), ("cabana-2.png", b"hi".to_vec()));
        assert_eq!(images.save(&[("text/plain".to_owned(), json!("1"))].into()).unwrap(), None);
        assert_eq!(fs::read(directory.path().join("cabana-1.png")).unwrap(), b"mine");
    }
}
