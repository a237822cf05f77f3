//! Extended headers: records of `<length> <keyword>=<value>\n` that say of a member what its own header cannot (POSIX.1, pax).

use rustix::fs::Timespec;

use super::error::ArchiveError;

/// What extended headers say of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extended {
    /// Its name.
    pub(super) path: Option<Vec<u8>>,
    /// What a link leads to.
    pub(super) link: Option<Vec<u8>>,
    /// How many bytes it holds.
    pub(super) size: Option<u64>,
    /// When its content last changed.
    pub(super) modified: Option<Timespec>,
}

impl Extended {
    /// Reads the records of one extended header. Where a keyword is repeated, the last one counts. What they say of owners, devices
    /// and attributes is of no account here.
    pub(super) fn read(mut records: &[u8]) -> Result<Self, ArchiveError> {
        let mut extended = Self::default();
        // Some writers fill the last block with NULs of their own.
        while records.first().is_some_and(|byte| *byte != 0) {
            let (keyword, value, rest) = record(records).ok_or(ArchiveError::Extended)?;
            records = rest;
            match keyword {
                b"path" => extended.path = Some(value.to_owned()),
                b"linkpath" => extended.link = Some(value.to_owned()),
                b"size" => extended.size = Some(number(value).ok_or(ArchiveError::Extended)?),
                b"mtime" => extended.modified = Some(instant(value).ok_or(ArchiveError::Extended)?),
                _ if keyword.starts_with(b"GNU.sparse.") => return Err(ArchiveError::Sparse),
                _ => {}
            }
        }
        Ok(extended)
    }
}

/// The first record's keyword and value, and what follows it. The length counts the whole record: a value may hold anything, line
/// breaks too.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(&records[..space])?).ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let fields = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = fields.iter().position(|byte| *byte == b'=')?;
    Some((&fields[..equals], &fields[equals + 1..], rest))
}

/// A number of decimal digits and nothing else.
fn number(digits: &[u8]) -> Option<u64> {
    let decimal = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| decimal)?.parse().ok()
}

/// Seconds since 1970, perhaps negative, perhaps with a fraction. What is finer than a nanosecond is cut off.
fn instant(text: &[u8]) -> Option<Timespec> {
    let negative = text.first() == Some(&b'-');
    let text = if negative { &text[1..] } else { text };
    let point = text.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = point.map_or((text, &b"0"[..]), |point| (&text[..point], &text[point + 1..]));
    let seconds = i64::try_from(number(whole)?).ok()?;
    if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanoseconds = fraction.iter().chain(&[b'0'; 9]).take(9).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    Some(match (negative, nanoseconds) {
        (false, _) => Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
        (true, 0) => Timespec { tv_sec: -seconds, tv_nsec: 0 },
        (true, _) => Timespec { tv_sec: -seconds - 1, tv_nsec: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tv_sec: i64, tv_nsec: i64) -> Option<Timespec> {
        Some(Timespec { tv_sec, tv_nsec })
    }

    #[test]
    fn records_are_as_long_as_they_say() {
        let path = |path: &str| Extended { path: Some(path.into()), ..Extended::default() };
        let size = |size| Extended { size: Some(size), ..Extended::default() };
        for (records, extended) in [
            ("", Ok(Extended::default())),
            ("10 path=a\n", Ok(path("a"))),
            ("10 path=a\n10 path=b\n\0\0", Ok(path("b"))),
            ("14 path=a\n=b\n\n", Ok(path("a\n=b\n"))),
            ("21 comment=1 size=9\n\n", Ok(Extended::default())),
            ("21 comment=\n9 size=9\n9 size=7\n", Ok(size(7))),
            ("22 comment=\n9 size=9\n\n9 size=7\n", Ok(size(7))),
            ("14 linkpath=/\n", Ok(Extended { link: Some("/".into()), ..Extended::default() })),
            ("13 linkpath=/\n", Err(ArchiveError::Extended)),
            ("15 linkpath=/\n", Err(ArchiveError::Extended)),
            ("8 path=a\n", Err(ArchiveError::Extended)),
            ("11 path=a\n", Err(ArchiveError::Extended)),
            ("99999999999999999999 path=a\n", Err(ArchiveError::Extended)),
            ("path=a\n", Err(ArchiveError::Extended)),
            ("7 path\n", Err(ArchiveError::Extended)),
            ("0 path=a\n", Err(ArchiveError::Extended)),
            ("3 \n", Err(ArchiveError::Extended)),
            ("11 size=+1\n", Err(ArchiveError::Extended)),
            ("11 size=0x\n", Err(ArchiveError::Extended)),
            ("22 GNU.sparse.major=1\n", Err(ArchiveError::Sparse)),
        ] {
            assert_eq!(Extended::read(records.as_bytes()), extended, "{records:?}");
        }
    }

    #[test]
    fn instants_are_exact() {
        for (text, expected) in [
            ("0", at(0, 0)),
            ("1600000000.5", at(1_600_000_000, 500_000_000)),
            ("1.0000000019", at(1, 1)),
            ("-1", at(-1, 0)),
            ("-1.25", at(-2, 750_000_000)),
            ("-0.000000001", at(-1, 999_999_999)),
            ("", None),
            ("-", None),
            ("1.", None),
            (".5", None),
            ("1e9", None),
            ("1.5x", None),
            ("1.123456789x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(instant(text.as_bytes()), expected, "{text:?}");
        }
    }
}
