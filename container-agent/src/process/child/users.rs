//! Users of the image, as `/etc/passwd` and `/etc/group` name them. The agent is linked statically and has no C library that
//! would ask for others.

use std::{ffi::OsString, fs::OpenOptions, io, io::Read, os::unix::ffi::OsStringExt, os::unix::fs::OpenOptionsExt};

use cabana_protocol::{Code, Error};
use rustix::{
    process::{Gid, Uid, geteuid},
    thread::{set_thread_gid, set_thread_groups, set_thread_uid},
};

/// Most bytes that are read of either file.
const FILE_BYTES: u64 = 4 << 20;

/// Whom a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub(crate) uid: Uid,
    /// Primary group.
    pub(crate) gid: Gid,
    /// All groups.
    groups: Vec<Gid>,
    name: Vec<u8>,
    home: Vec<u8>,
    shell: Vec<u8>,
}

impl Identity {
    /// The user of this name, or else of this number.
    ///
    /// Fails with `not_found`.
    pub fn look_up(user: &str) -> Result<Self, Error> {
        let passwd = read("/etc/passwd").map_err(|error| unreadable("/etc/passwd", &error))?;
        let group = match read("/etc/group") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            group => group.map_err(|error| unreadable("/etc/group", &error))?,
        };
        Self::find(user, &passwd, &group).ok_or_else(|| {
            let shown: String = user.chars().take(64).collect();
            Error::not_found(format!("there is no user {shown:?}"))
                .with_details(serde_json::json!({ "reason": "no_such_user", "user": shown }))
        })
    }

    /// Whether the agent runs as this user.
    pub fn is_own(&self) -> bool {
        self.uid == geteuid()
    }

    /// Its name, where it is text.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }

    /// What login(1) would set.
    pub fn variables(&self) -> [(OsString, OsString); 4] {
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let (name, home, shell) = (text(&self.name), text(&self.home), text(&self.shell));
        [("HOME".into(), home), ("USER".into(), name.clone()), ("LOGNAME".into(), name), ("SHELL".into(), shell)]
    }

    /// Becomes this user for good. For a child that has just been forked: only its one thread changes, by system calls alone.
    pub(in crate::process) fn assume(&self) -> rustix::io::Result<()> {
        set_thread_groups(&self.groups)?;
        set_thread_gid(self.gid)?;
        set_thread_uid(self.uid)
    }

    /// Reads passwd(5) and group(5). A line that is not as it should be is passed over.
    fn find(user: &str, passwd: &[u8], group: &[u8]) -> Option<Self> {
        let wanted = user.as_bytes();
        let users: Vec<_> = lines(passwd).filter_map(User::parse).collect();
        let by_number = || user.parse().ok().and_then(|uid: u32| users.iter().find(|known| known.uid == uid));
        let found = users.iter().find(|known| known.name == wanted).or_else(by_number)?;
        let mut groups = vec![found.gid];
        for line in lines(group) {
            let mut fields = line.split(|byte| *byte == b':').skip(2);
            let (Some(gid), Some(members)) = (fields.next().and_then(number), fields.next()) else { continue };
            if !groups.contains(&gid) && members.split(|byte| *byte == b',').any(|member| member.trim_ascii() == found.name) {
                groups.push(gid);
            }
        }
        Some(Self {
            uid: Uid::from_raw(found.uid),
            gid: Gid::from_raw(found.gid),
            groups: groups.into_iter().map(Gid::from_raw).collect(),
            name: found.name.to_vec(),
            home: or(found.home, b"/"),
            shell: or(found.shell, b"/bin/sh"),
        })
    }
}

/// A line of `/etc/passwd`.
struct User<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
    shell: &'a [u8],
}

impl<'a> User<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let fields: Vec<_> = line.split(|byte| *byte == b':').collect();
        let [name, _, uid, gid, _, home, shell] = fields[..] else { return None };
        (!name.is_empty()).then_some(Self { name, uid: number(uid)?, gid: number(gid)?, home, shell })
    }
}

/// Lines without a NUL, which no variable can hold.
fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|byte| *byte == b'\n').filter(|line| !line.contains(&0))
}

/// A user's or group's number; the kernel takes the largest for "no change".
fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok().filter(|number| *number != u32::MAX)
}

fn or(field: &[u8], default: &[u8]) -> Vec<u8> {
    if field.is_empty() { default.to_vec() } else { field.to_vec() }
}

/// Reads a file that the sandbox's root may have made into anything.
fn read(path: &str) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

fn unreadable(path: &str, error: &io::Error) -> Error {
    let code = if error.kind() == io::ErrorKind::NotFound { Code::NotFound } else { Code::Unprocessable };
    Error::new(code, format!("{path}, which names the users, cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n\
        # a comment\n\
        broken:x:1\n\
        +::::::\n\
        sandbox:x:1000:1001:,,,:/home/sandbox:/bin/zsh\n\
        bare:x:7:8:::\n\
        1000:x:2000:2000::/odd:/bin/sh\n\
        half\xff:x:9:9::/h\xff:/bin/sh\n\
        nobody:x:4294967295:1::/:/bin/sh\n\
        last:x:10:10::/last:/bin/sh";
    const GROUP: &[u8] = b"root:x:0:\nsudo:x:27:other,sandbox\nsandbox:x:1001:\ndocker:x:99:sandbox, bare\n\
        bad:x:many:sandbox\nshort:x\nsandboxes:x:5:sandbox2\nagain:x:27:sandbox\n";

    fn found(user: &str) -> Option<(u32, u32, Vec<u32>, String)> {
        let user = Identity::find(user, PASSWD, GROUP)?;
        let groups = user.groups.iter().map(|gid| gid.as_raw()).collect();
        let variables = user.variables().map(|(_, value)| value.to_string_lossy().into_owned()).join(" ");
        Some((user.uid.as_raw(), user.gid.as_raw(), groups, variables))
    }

    #[test]
    fn users_are_found_as_the_files_name_them() {
        for (user, expected) in [
            ("root", Some((0, 0, vec![0], "/root root root /bin/bash"))),
            ("sandbox", Some((1000, 1001, vec![1001, 27, 99], "/home/sandbox sandbox sandbox /bin/zsh"))),
            ("bare", Some((7, 8, vec![8, 99], "/ bare bare /bin/sh"))),
            ("7", Some((7, 8, vec![8, 99], "/ bare bare /bin/sh"))),
            ("1000", Some((2000, 2000, vec![2000], "/odd 1000 1000 /bin/sh"))),
            ("9", Some((9, 9, vec![9], "/h\u{fffd} half\u{fffd} half\u{fffd} /bin/sh"))),
            ("last", Some((10, 10, vec![10], "/last last last /bin/sh"))),
            ("broken", None),
            ("nobody", None),
            ("4294967295", None),
            ("", None),
            ("+", None),
            ("# a comment", None),
            ("root:x", None),
            ("sandbox2", None),
            ("77", None),
        ] {
            let expected = expected.map(|(uid, gid, groups, variables)| (uid, gid, groups, variables.to_owned()));
            assert_eq!(found(user), expected, "{user}");
        }
    }

    #[test]
    fn what_is_not_a_file_is_not_read() {
        for path in ["/dev/null", "/etc", "/no/such/file"] {
            assert!(read(path).is_err(), "{path}");
        }
        assert!(Identity::look_up("root").is_ok_and(|root| root.uid.is_root()));
    }
}
