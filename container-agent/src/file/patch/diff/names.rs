//! The names of files in a diff.

use super::lines::trimmed;

/// What a file is called before and after; nothing where it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) old: Option<Vec<u8>>,
    pub(super) new: Option<Vec<u8>>,
}

impl Names {
    /// As `---` and `+++` tell them: a date may follow after a tab.
    pub(super) fn of_header(old: &[u8], new: &[u8], strip: Option<usize>) -> Result<Self, &'static str> {
        let name = |line: &[u8]| {
            let line = trimmed(line);
            match line.first() {
                Some(b'"') => {
                    unquoted(line).map(|(name, _)| name).ok_or("a name in quotes that do not close, or an escape that is none")
                }
                _ => Ok(line.split(|byte| *byte == b'\t').next().unwrap_or_default().to_vec()),
            }
        };
        Ok(Self::stripped(name(old)?, name(new)?, strip))
    }

    /// As `diff --git` tells them: where nothing is in quotes, both are the same but for what git puts before them.
    pub(super) fn of_git(line: &[u8], strip: Option<usize>) -> Option<Self> {
        let (old, new) = match line.first()? {
            b'"' => {
                let (old, rest) = unquoted(line)?;
                let new = rest.strip_prefix(b" ")?;
                (old, if new.first() == Some(&b'"') { unquoted(new)?.0 } else { new.to_vec() })
            }
            _ => {
                let (old, new) = (line.get(..line.len() / 2)?, line.get(line.len() / 2 + 1..)?);
                (line[line.len() / 2] == b' ').then_some((old.to_vec(), new.to_vec()))?
            }
        };
        let names = Self::stripped(old, new, strip);
        (names.old == names.new).then_some(names)
    }

    fn stripped(old: Vec<u8>, new: Vec<u8>, strip: Option<usize>) -> Self {
        let [old, new] = [old, new].map(|name| (name != b"/dev/null").then_some(name));
        let starts = |name: &Option<Vec<u8>>, prefix: &[u8]| name.as_ref().is_none_or(|name| name.starts_with(prefix));
        let strip = strip.unwrap_or(usize::from(starts(&old, b"a/") && starts(&new, b"b/")));
        let [old, new] = [old, new].map(|name| name.map(|name| without(name, strip)));
        Self { old, new }
    }
}

/// A name as git tells it of a file that was renamed: without what it puts before others.
pub(super) fn bare(line: &[u8], strip: Option<usize>) -> Result<Vec<u8>, &'static str> {
    let name = match line.first() {
        Some(b'"') => unquoted(line).ok_or("a name in quotes that do not close, or an escape that is none")?.0,
        _ => line.to_vec(),
    };
    Ok(without(name, strip.unwrap_or(1).saturating_sub(1)))
}

/// The name without so many directories at its beginning; its last part stays.
fn without(name: Vec<u8>, directories: usize) -> Vec<u8> {
    let mut rest = name.as_slice();
    for _ in 0..directories {
        match rest.iter().position(|byte| *byte == b'/') {
            Some(slash) => rest = &rest[slash + 1..],
            None => break,
        }
    }
    rest.to_vec()
}

/// A name in quotes, with C's escapes, and what follows it.
fn unquoted(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut name = Vec::new();
    let mut rest = line.strip_prefix(b"\"")?;
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some((name, rest)),
            b'\\' => {
                let (byte, after) = escaped(rest)?;
                name.push(byte);
                rest = after;
            }
            byte => name.push(*byte),
        }
    }
}

/// The byte that an escape stands for, and what follows it.
fn escaped(rest: &[u8]) -> Option<(u8, &[u8])> {
    let (first, after) = rest.split_first()?;
    let byte = match first {
        b'a' => 0x07,
        b'b' => 0x08,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 0x0b,
        b'f' => 0x0c,
        b'r' => b'\r',
        b'"' | b'\\' => *first,
        b'0'..=b'3' => {
            let octal = std::str::from_utf8(rest.get(..3)?).ok()?;
            return Some((u8::from_str_radix(octal, 8).ok()?, &rest[3..]));
        }
        _ => return None,
    };
    Some((byte, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stripped_and_unquoted() {
        let some = |name: &str| Some(name.as_bytes().to_vec());
        for (old, new, strip, expected) in [
            ("a/x/f\n", "b/x/f\n", None, (some("x/f"), some("x/f"))),
            ("a/x/f", "b/x/f", Some(0), (some("a/x/f"), some("b/x/f"))),
            ("a/x/f", "b/x/f", Some(2), (some("f"), some("f"))),
            ("a/x/f", "b/x/f", Some(9), (some("f"), some("f"))),
            ("a/f", "a/f", None, (some("a/f"), some("a/f"))),
            ("/dev/null\t1970", "b/f\t1970", None, (None, some("f"))),
            ("a/with space\r\n", "/dev/null", None, (some("with space"), None)),
            ("\"a/\\t\\\"\\\\\\101\"", "\"b/\\t\\\"\\\\\\101\"\t1970", None, (some("\t\"\\A"), some("\t\"\\A"))),
        ] {
            let names = Names::of_header(old.as_bytes(), new.as_bytes(), strip).unwrap();
            assert_eq!((names.old, names.new), expected, "{old} {new}");
        }
        for (line, expected) in [
            ("a/f b/f", some("f")),
            ("a/f b/g b/f b/g", some("f b/g")),
            ("\"a/\\377\" \"b/\\377\"", Some(vec![0xff])),
            ("x y", None),
            ("a/f b/other", None),
            ("", None),
        ] {
            assert_eq!(Names::of_git(line.as_bytes(), None).and_then(|names| names.new), expected, "{line}");
        }
        assert_eq!(bare(b"\"x\\n\"", None), Ok(b"x\n".to_vec()));
        assert_eq!(bare(b"x/y", Some(2)), Ok(b"y".to_vec()));
    }
}
