//! What git says of a file before its hunks.

use super::{
    Change,
    names::{self, Names},
};

/// What git says of a file before its hunks.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) names: Option<Names>,
    renamed: bool,
    copied: bool,
    created: bool,
    deleted: bool,
    from: Option<Vec<u8>>,
    to: Option<Vec<u8>>,
    /// Whether the file may be executed from now on, where that changes.
    pub(super) executable: Option<bool>,
}

impl Header {
    /// One that begins with these names, if they can be told.
    pub(super) fn of(names: Option<Names>) -> Self {
        Self { names, ..Self::default() }
    }

    /// Takes a line of git's; false where it is none.
    pub(super) fn take(&mut self, line: &[u8], strip: Option<usize>) -> Result<bool, &'static str> {
        let (word, rest) = WORDS.iter().find_map(|word| Some((*word, line.strip_prefix(word.as_bytes())?))).unwrap_or(("", line));
        match word {
            "rename from " | "copy from " => self.from = Some(names::bare(rest, strip)?),
            "rename to " => (self.renamed, self.to) = (true, Some(names::bare(rest, strip)?)),
            "copy to " => (self.copied, self.to) = (true, Some(names::bare(rest, strip)?)),
            "new file mode " => (self.created, self.executable) = (true, Some(executable(rest)?)),
            "deleted file mode " => self.deleted = true,
            "new mode " => self.executable = Some(executable(rest)?),
            "GIT binary patch" | "Binary files " => return Err("a binary file, which a unified diff cannot show"),
            "" => return Ok(false),
            _ => {}
        }
        Ok(true)
    }

    /// What is done to which file.
    pub(super) fn change(self) -> Result<Change, &'static str> {
        let Names { old, new } = match self.names {
            Some(names) => names,
            None if self.renamed || self.copied => Names { old: None, new: None },
            None => return Err("which file is meant cannot be told"),
        };
        match (old, new) {
            _ if self.renamed || self.copied => {
                let (from, to) = self.from.zip(self.to).ok_or("a file is renamed or copied, but not from where to where")?;
                Ok(if self.renamed { Change::Rename { from, to } } else { Change::Copy { from, to } })
            }
            (None, None) => Err("neither the old file nor the new one is there"),
            (Some(path), None) => Ok(Change::Delete { path }),
            (None, Some(path)) => Ok(Change::Create { path }),
            (Some(path), Some(_)) if self.deleted => Ok(Change::Delete { path }),
            (Some(_), Some(path)) if self.created => Ok(Change::Create { path }),
            // Where the names differ without git saying why, it is one file and a copy from before: a.orig and a.
            (Some(_), Some(path)) => Ok(Change::Modify { path }),
        }
    }
}

/// The words that git's lines begin with.
const WORDS: [&str; 14] = [
    "rename from ",
    "rename to ",
    "copy from ",
    "copy to ",
    "new file mode ",
    "deleted file mode ",
    "old mode ",
    "new mode ",
    "similarity index ",
    "dissimilarity index ",
    "index ",
    "GIT binary patch",
    "Binary files ",
    "Index: ",
];

fn executable(mode: &[u8]) -> Result<bool, &'static str> {
    match mode {
        b"100644" => Ok(false),
        b"100755" => Ok(true),
        _ => Err("neither a plain file nor an executable one"),
    }
}
