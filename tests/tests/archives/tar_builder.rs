//! Archives put together by hand, as no tar program writes them.

/// Builds an archive header by header.
#[derive(Debug, Clone, Default)]
pub(super) struct TarBuilder(Vec<u8>);

/// One header, before its checksum.
#[derive(Debug, Clone)]
pub(super) struct Header([u8; 512]);

impl Header {
    /// Of a member of this type, in the format of POSIX.1, without content.
    pub(super) fn new(kind: u8, name: &[u8]) -> Self {
        let header = Self([0; 512]).field(0, name).field(100, b"0000644\0").field(136, b"00000000000\0").size(0);
        header.field(156, &[kind]).field(257, b"ustar\x0000")
    }

    /// What a link leads to.
    pub(super) fn link(self, to: &[u8]) -> Self {
        self.field(157, to)
    }

    /// How much the header says that follows it.
    pub(super) fn size(self, size: u64) -> Self {
        self.field(124, format!("{size:011o}\0").as_bytes())
    }

    /// Bytes anywhere.
    pub(super) fn field(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }
}

impl TarBuilder {
    /// Adds a header and what follows it, which need not be as long as its size says.
    pub(super) fn raw(mut self, header: Header, content: &[u8]) -> Self {
        let mut header = header.field(148, b"        ").0;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header);
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Adds a member with content.
    pub(super) fn member(self, kind: u8, name: &[u8], content: &[u8]) -> Self {
        self.raw(Header::new(kind, name).size(content.len() as u64), content)
    }

    /// Adds a file.
    pub(super) fn file(self, name: &str, content: &str) -> Self {
        self.member(b'0', name.as_bytes(), content.as_bytes())
    }

    /// Adds a symlink.
    pub(super) fn symlink(self, name: &str, to: &str) -> Self {
        self.raw(Header::new(b'2', name.as_bytes()).link(to.as_bytes()), b"")
    }

    /// Adds another name for a member.
    pub(super) fn hard_link(self, name: &str, to: &str) -> Self {
        self.raw(Header::new(b'1', name.as_bytes()).link(to.as_bytes()), b"")
    }

    /// Adds an extended header with these records, each without its length.
    pub(super) fn extended(self, kind: u8, records: &[&[u8]]) -> Self {
        let mut content = Vec::new();
        for record in records {
            // A record's length counts its own digits.
            let length = (record.len()..).find(|length| length.to_string().len() + 2 + record.len() == *length).unwrap();
            content.extend([length.to_string().as_bytes(), b" ", record, b"\n"].concat());
        }
        self.member(kind, b"extended", &content)
    }

    /// The archive, without its end.
    pub(super) fn cut_off(self) -> Vec<u8> {
        self.0
    }

    /// The whole archive.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}
