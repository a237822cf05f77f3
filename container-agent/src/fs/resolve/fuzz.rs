//! Fuzzing of paths: both ways of confinement beside a model that knows nothing of files.
#![allow(clippy::unwrap_used, reason = "a property that does not hold is told by a panic")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::PathBuf,
};

use cabana_protocol::file::FilePath;
use tempfile::TempDir;

use super::{
    super::{Roots, errno_error},
    *,
};

/// Where the symlinks are that an input describes.
const LINKS: [&str; 4] = ["1", "2", "a/3", "a/b/4"];

/// How what is found is opened.
const FLAGS: [OFlags; 5] = [
    OFlags::PATH,
    OFlags::PATH.union(OFlags::NOFOLLOW),
    OFlags::PATH.union(OFlags::DIRECTORY),
    OFlags::RDONLY,
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW),
];

thread_local! {
    static TREE: Tree = Tree::make();
}

/// A path, a line break, and where up to four symlinks lead, each on a line: both ways open what the model says, or refuse it for the
/// same reason.
pub fn path(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(OsStr::from_bytes);
    let Some(asked) = lines.next().filter(|asked| !asked.is_empty() && !asked.as_bytes().contains(&0)) else { return };
    TREE.with(|tree| {
        let made = tree.link(lines);
        tree.check(Path::new(asked), &made);
        made.links.iter().for_each(|link| fs::remove_file(tree.root().join(link)).unwrap());
    });
}

/// Some directories and files, and others outside.
struct Tree {
    top: TempDir,
    roots: Vec<Roots>,
}

/// What there is, by its path below the root.
struct Model {
    nodes: BTreeMap<PathBuf, Node>,
    links: Vec<&'static str>,
}

enum Node {
    Directory,
    File,
    Link(OsString),
}

impl Tree {
    fn make() -> Self {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("root/a/b")).unwrap();
        for file in ["root/f", "root/a/b/f", "f"] {
            fs::write(top.path().join(file), file).unwrap();
        }
        // Where the kernel has no openat2, there is one way only.
        let ways: &[Confinement] = if Confinement::detect() == Confinement::Walk {
            &[Confinement::Walk]
        } else {
            &[Confinement::Openat2, Confinement::Walk]
        };
        let roots = ways.iter().map(|way| Roots::new(&[top.path().join("root")], &[], *way).unwrap()).collect();
        Self { top, roots }
    }

    fn root(&self) -> PathBuf {
        self.top.path().join("root")
    }

    fn link<'a>(&self, targets: impl Iterator<Item = &'a OsStr>) -> Model {
        let plain =
            [("", Node::Directory), ("a", Node::Directory), ("a/b", Node::Directory), ("f", Node::File), ("a/b/f", Node::File)];
        let nodes = plain.into_iter().map(|(path, node)| (path.into(), node)).collect();
        let mut model = Model { nodes, links: Vec::new() };
        for (link, to) in LINKS.into_iter().zip(targets) {
            // Where a symlink cannot be made, there is none.
            if symlink(to, self.root().join(link)).is_ok() {
                model.nodes.insert(link.into(), Node::Link(to.to_owned()));
                model.links.push(link);
            }
        }
        model
    }

    fn check(&self, asked: &Path, model: &Model) {
        for roots in &self.roots {
            let (way, root) = (roots.confinement(), self.root());
            for (flags, links) in FLAGS.into_iter().flat_map(|flags| [(flags, Links::Follow), (flags, Links::Refuse)]) {
                let opened = loop {
                    // Renames elsewhere disturb the kernel.
                    match way.open(fs::File::open(&root).unwrap(), asked, flags, links) {
                        Err(Errno::AGAIN) => {}
                        opened => break opened.map(|opened| fs::File::from(opened).metadata().unwrap()),
                    }
                };
                if matches!(opened, Err(Errno::LOOP)) && model.follows_many(asked, flags, links) {
                    continue;
                }
                let found = model.open(asked, flags, links).map(|path| fs::symlink_metadata(root.join(path)).unwrap());
                let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
                assert_eq!(opened.map(identity), found.map(identity), "{way:?} {flags:?} {links:?}");
            }
            // To a caller, a path from the root on is the same as one that is relative to it.
            let below = [OsStr::new("."), asked.as_os_str()].join(OsStr::new("/"));
            let absolute = [root.as_os_str(), asked.as_os_str()].join(OsStr::new("/"));
            for (asked, below) in [(asked.as_os_str(), asked.as_os_str()), (&absolute, &below)] {
                check_target(roots, asked, Path::new(below), model);
            }
        }
    }
}

fn check_target(roots: &Roots, asked: &OsStr, below: &Path, model: &Model) {
    // Longer ones may become shorter before the kernel sees them.
    if asked.len() >= PATH_MAX - 2 || model.follows_many(below, OFlags::PATH, Links::Follow) {
        return;
    }
    let path = FilePath::from(asked.as_bytes().to_owned());
    let expected = model.open(below, OFlags::PATH, Links::Follow).map_err(|errno| errno_error(&path, errno).code);
    let opened = roots.target(&path).and_then(|target| target.open(OFlags::PATH)).map_err(|error| error.code);
    assert_eq!(opened.map(drop), expected.map(drop), "{asked:?}");
}

impl Model {
    /// The path of what is opened, without symlinks.
    fn open(&self, path: &Path, flags: OFlags, links: Links) -> Result<PathBuf, Errno> {
        if path.as_os_str().len() >= PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let found = self.resolve(PathBuf::new(), path.as_os_str(), !flags.contains(OFlags::NOFOLLOW), links, &mut 0)?;
        match self.nodes[&found] {
            Node::File | Node::Link(_) if flags.contains(OFlags::DIRECTORY) => Err(Errno::NOTDIR),
            Node::Link(_) if !flags.contains(OFlags::PATH) => Err(Errno::LOOP),
            _ => Ok(found),
        }
    }

    /// Whether it follows so many symlinks that the kernel may refuse it for them: it counts those again when it has to begin again,
    /// as it does to refuse a `..` that leads outside.
    fn follows_many(&self, path: &Path, flags: OFlags, links: Links) -> bool {
        let mut followed = 0;
        let _ = self.resolve(PathBuf::new(), path.as_os_str(), !flags.contains(OFlags::NOFOLLOW), links, &mut followed);
        followed > MAX_LINKS / 2
    }

    fn resolve(&self, mut at: PathBuf, path: &OsStr, follow: bool, links: Links, followed: &mut usize) -> Result<PathBuf, Errno> {
        match path.as_bytes().first() {
            None => return Err(Errno::NOENT),
            Some(b'/') => return Err(Errno::XDEV),
            Some(_) => {}
        }
        let mut names = path.as_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
        let slash = path.as_bytes().ends_with(b"/");
        while let Some(name) = names.next() {
            let last = names.peek().is_none() && !slash;
            self.demand_directory(&at)?;
            match name {
                b"." => {}
                b".." if at.pop() => {}
                b".." => return Err(Errno::XDEV),
                name if name.len() > 255 => return Err(Errno::NAMETOOLONG),
                name => {
                    let next = at.join(OsStr::from_bytes(name));
                    match self.nodes.get(&next).ok_or(Errno::NOENT)? {
                        Node::Link(to) if follow || !last => {
                            *followed += 1;
                            if *followed > MAX_LINKS || links == Links::Refuse {
                                return Err(Errno::LOOP);
                            }
                            at = self.resolve(at, to, true, links, followed)?;
                        }
                        _ => at = next,
                    }
                }
            }
        }
        if slash {
            self.demand_directory(&at)?;
        }
        Ok(at)
    }

    fn demand_directory(&self, path: &Path) -> Result<(), Errno> {
        if matches!(self.nodes[path], Node::Directory) { Ok(()) } else { Err(Errno::NOTDIR) }
    }
}
