//! Archives that are small before they are not.

use futures_util::stream;
use reqwest::{Body, Method};

use super::{
    budget::Budget,
    process::{Process, mebibytes},
};
use crate::{Answer, Sandbox, agent::Agent};

/// What the large ones unpack to.
const UNPACKED: u64 = 10 << 30;
/// Zeros in one part of a compressed archive.
const PART: u64 = 16 << 20;
/// Entries of the long ones, and how many of them are in one piece of the upload.
const ENTRIES: u64 = 10_000_000;
const ENTRIES_AT_ONCE: u64 = 1_000;
/// The most that the agent may grow by: buffers, and a window of zstd.
const GROWTH_KIB: u64 = 32 << 10;

/// How an archive is made.
#[derive(Clone, Copy)]
enum Bomb {
    /// One file of zeros, in gzip: a thousandth of its size.
    Gzip,
    /// One file of zeros, in zstd: a thirty thousandth.
    Zstd,
    /// Many members of this type, each with the name of one of a thousand.
    Entries(u8),
    /// One file that is a bomb itself.
    Nested,
}

/// Where the limit of bytes is what stops an archive: 2 GiB, since no disk is to be filled.
const LIFTED_RATIO: &[(&str, &str)] = &[("CABANA_MAX_ARCHIVE_RATIO", "1000000000"), ("CABANA_MAX_ARCHIVE_BYTES", "2147483648")];

/// Variables of the agent.
type Variables = &'static [(&'static str, &'static str)];

/// Each with the agent's variables, and what stops it: a field of the error's details.
const BOMBS: &[(&str, Bomb, Variables, Option<&str>)] = &[
    ("gzip", Bomb::Gzip, &[], Some("limit_ratio")),
    ("zstd", Bomb::Zstd, &[], Some("limit_ratio")),
    ("nested", Bomb::Nested, &[], None),
    ("gzip, no ratio", Bomb::Gzip, LIFTED_RATIO, Some("limit_bytes")),
    ("zstd, no ratio", Bomb::Zstd, LIFTED_RATIO, Some("limit_bytes")),
    ("files", Bomb::Entries(b'0'), &[], Some("limit_entries")),
    ("directories", Bomb::Entries(b'5'), &[], Some("limit_entries")),
];

/// How many there are.
pub(super) const COUNT: u64 = BOMBS.len() as u64;

pub(super) async fn run(budget: &Budget) -> String {
    let mut worst = (0, "none");
    for (what, bomb, variables, stopped_by) in BOMBS {
        if budget.begin().is_none() {
            break;
        }
        let sandbox = Sandbox::of_agent(Agent::start(&[], variables));
        let gzip = gzip_of_zeros(&sandbox).await;
        let agent = Process::agent_of(&sandbox).await;
        let before = agent.resident_kib();
        sandbox.shell("mkdir target").await;
        let import = sandbox.request(Method::PUT, "/archive").query(&[("path", "target")]);
        let Some(answer) = budget.within(sandbox.send(import.body(bomb.archive(gzip)))).await else { break };
        check(what, &answer, *stopped_by);
        let grown = agent.peak_kib().saturating_sub(before);
        assert!(grown < GROWTH_KIB, "{what}: the agent has grown by {grown} KiB");
        assert_eq!(sandbox.shell("find . -name '.cabana*'").await, "", "{what}: temporary files are left");
        assert_eq!(sandbox.shell("echo well").await, "well\n");
        worst = worst.max((grown, what));
        budget.finish();
    }
    format!("the agent grew by {} at most ({})", mebibytes(worst.0), worst.1)
}

fn check(what: &str, answer: &Answer, stopped_by: Option<&str>) {
    let Some(limit) = stopped_by else {
        assert!(answer.status.is_success() && answer.json()["entries"] == 1, "{what}: {}", answer.json());
        return;
    };
    assert_eq!(answer.code(), "payload_too_large", "{what}: {}", answer.json());
    assert!(answer.json()["error"]["details"][limit].is_u64(), "{what}: {}", answer.json());
}

/// A file's header and the zeros of one part, each as a whole gzip member: several behind one another are one archive.
struct Gzip {
    header: Vec<u8>,
    zeros: Vec<u8>,
}

async fn gzip_of_zeros(sandbox: &Sandbox) -> Gzip {
    sandbox.put("header", header(b'0', "large", UNPACKED)).await.success();
    sandbox.shell(&format!("gzip -c header > h; head -c {PART} /dev/zero | gzip -9 -c > z")).await;
    let gzip = Gzip { header: sandbox.get("h").await.success(), zeros: sandbox.get("z").await.success() };
    sandbox.shell("rm header h z").await;
    gzip
}

impl Bomb {
    fn archive(self, gzip: Gzip) -> Body {
        match self {
            Self::Gzip => repeated(gzip.header, gzip.zeros, UNPACKED / PART),
            Self::Zstd => repeated(zstd_of(&header(b'0', "large", UNPACKED)), zstd_of_zeros(PART), UNPACKED / PART),
            Self::Entries(kind) => {
                let headers = (0..ENTRIES_AT_ONCE).flat_map(|number| header(kind, &format!("{number}"), 0)).collect();
                repeated(Vec::new(), headers, ENTRIES / ENTRIES_AT_ONCE)
            }
            Self::Nested => {
                let inner = [gzip.header, gzip.zeros.repeat((UNPACKED / PART).try_into().unwrap())].concat();
                let padding = vec![0; inner.len().next_multiple_of(512) - inner.len() + 1_024];
                Body::from([header(b'0', "bomb.tar.gz", inner.len() as u64), inner, padding].concat())
            }
        }
    }
}

/// A body of pieces that are made while it is sent.
fn repeated(first: Vec<u8>, piece: Vec<u8>, count: u64) -> Body {
    let pieces = (0..count).map(move |_| piece.clone());
    Body::wrap_stream(stream::iter(std::iter::once(first).chain(pieces).map(Ok::<_, std::io::Error>)))
}

/// A member's header, in the format of POSIX.1 with GNU's form of large numbers.
fn header(kind: u8, name: &str, size: u64) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut set = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    set(0, name.as_bytes());
    set(100, b"0000755\0");
    set(124, &[0x80]);
    set(128, &size.to_be_bytes());
    set(136, b"00000000000\0");
    set(148, b"        ");
    set(156, &[kind]);
    set(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// A zstd frame with one raw block of 512 bytes, RFC 8878: magic number, a single segment whose size takes two bytes and counts from 256.
fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    assert_eq!(bytes.len(), 512);
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x60, 0x00, 0x01, 0x01, 0x10, 0x00], bytes].concat()
}

/// A zstd frame of zeros: a window of 128 KiB, and blocks of as much that say which byte is repeated.
fn zstd_of_zeros(count: u64) -> Vec<u8> {
    const BLOCK: u32 = 128 << 10;
    const REPEATED: u32 = 1 << 1;
    const LAST: u32 = 1;
    let blocks = count / u64::from(BLOCK);
    let block = |number| {
        let head = BLOCK << 3 | REPEATED | if number + 1 == blocks { LAST } else { 0 };
        [head.to_le_bytes()[0], head.to_le_bytes()[1], head.to_le_bytes()[2], 0]
    };
    [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38].into_iter().chain((0..blocks).flat_map(block)).collect()
}
