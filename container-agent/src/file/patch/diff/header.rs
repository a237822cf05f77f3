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
    /// What the file is from now on, where that changes.
    pub(super) becomes: Option<FileKind>,
    /// What the file is, wherever git says so.
    kind: Option<FileKind>,
}

/// What git tells files apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::file::patch) enum FileKind {
    Plain,
    Executable,
    Symlink,
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
            "new file mode " => (self.created, self.becomes) = (true, Some(self.see(rest)?)),
            "deleted file mode " => {
                self.deleted = true;
                self.see(rest)?;
            }
            "old mode " => drop(self.see(rest)?),
            "new mode " => self.becomes = Some(self.see(rest)?),
            // The two versions, and the mode where it stays as it is.
            "index " => {
                if let Some(space) = rest.iter().position(|byte| *byte == b' ') {
                    self.see(&rest[space + 1..])?;
                }
            }
            "GIT binary patch" | "Binary files " => return Err("a binary file, which a unified diff cannot show"),
            "" => return Ok(false),
            _ => {}
        }
        Ok(true)
    }

    /// Notes a mode. A file that becomes a symlink, or the other way round, is deleted and created.
    fn see(&mut self, mode: &[u8]) -> Result<FileKind, &'static str> {
        let kind = FileKind::parse(mode).ok_or("mode: must be that of a file or symlink, for instance 100644")?;
        let is_symlink = |kind: FileKind| kind == FileKind::Symlink;
        if self.kind.is_some_and(|known| is_symlink(known) != is_symlink(kind)) {
            return Err("mode: a file becomes a symlink only by being deleted and created");
        }
        self.kind = Some(kind);
        Ok(kind)
    }

    /// Whether it is a symlink, whose content is where it leads.
    pub(super) fn is_symlink(&self) -> bool {
        self.kind == Some(FileKind::Symlink)
    }

    /// What is done to which file.
    pub(super) fn change(self) -> Result<Change, &'static str> {
        let Names { old, new } = match self.names {
            Some(names) => names,
            None if self.renamed || self.copied => Names { old: None, new: None },
            None => return Err("the name of the file is missing or ambiguous"),
        };
        match (old, new) {
            _ if self.renamed || self.copied => {
                let (from, to) = self.from.zip(self.to).ok_or("a rename or copy needs both its lines, from and to")?;
                Ok(if self.renamed { Change::Rename { from, to } } else { Change::Copy { from, to } })
            }
            (None, None) => Err("both names are /dev/null"),
            (Some(path), None) => Ok(Change::Delete { path }),
            (None, Some(path)) => Ok(Change::Create { path }),
            (Some(path), Some(_)) if self.deleted => Ok(Change::Delete { path }),
            (Some(_), Some(path)) if self.created => Ok(Change::Create { path }),
            // Where the names differ without git saying why, it is one file and a copy from before: a.orig and a.
            (Some(_), Some(path)) => Ok(Change::Modify { path }),
        }
    }
}

impl FileKind {
    /// As git reads modes: of the permission bits, only the owner's execution counts.
    fn parse(mode: &[u8]) -> Option<Self> {
        let mode = std::str::from_utf8(mode).ok().filter(|mode| mode.bytes().all(|digit| digit.is_ascii_digit()))?;
        let mode = u32::from_str_radix(mode, 8).ok()?;
        match mode & 0o170_000 {
            0o100_000 if mode & 0o100 != 0 => Some(Self::Executable),
            0o100_000 => Some(Self::Plain),
            0o120_000 => Some(Self::Symlink),
            _ => None,
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
