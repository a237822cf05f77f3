//! What an agent does at its start where rules hold for what leaves its container (`CABANA_NETWORK_RULES`).
//!
//! The platform reads what the container sends over HTTPS. For that it places the certificate of an authority, which programs must trust. The
//! authority is another one at each start, and a container that starts from a snapshot has an old one among its certificates.

mod java;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{self, Permissions},
    io,
    io::{Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    ops::Range,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::geteuid;
use tempfile::NamedTempFile;

/// Where the platform places the authority's certificate.
const AUTHORITY: &str = "/etc/cloudflare/certs/cloudflare-containers-ca.crt";

/// Where distributions keep the certificates that programs trust: Debian and Alpine, Fedora, others. The first is made where there is none.
const SYSTEM_BUNDLES: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The directory of the agent's own bundle, where the agent may make it.
const DIRECTORY: &str = "/var/lib/cabana";

/// The bundle's name there.
const BUNDLE: &str = "ca-certificates.crt";

/// Variables that name the whole bundle. Many programs bring their own certificates, and read one of these.
const BUNDLE_VARIABLES: [&str; 6] =
    ["CARGO_HTTP_CAINFO", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"];

/// The variable that names certificates beside those that Node brings.
const EXTRA_VARIABLE: &str = "NODE_EXTRA_CA_CERTS";

/// What stands around the authority in the bundle, so that the next start can replace it.
const BEGIN: &str = "# Begin of Cabana's network rules\n";
const END: &str = "# End of Cabana's network rules\n";

/// How long the platform has for its part.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// How long the authority of an earlier start is not taken for this one's. The platform makes another at each start; one that did not would
/// be waited for in vain.
const RENEWAL_PATIENCE: Duration = Duration::from_secs(5);

/// A name that is answered by the Worker, with 204, and by nobody else.
const CANARY: &str = "canary.cabana.internal:80";

/// A server that everyone reaches who reaches the internet, on a port that no rule can open (DNS over TLS).
const OUTSIDE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(1, 1, 1, 1)), 853);

/// How long a way out has to show. Where packets are dropped there is no answer at all.
const OUTSIDE_WAIT: Duration = Duration::from_millis(300);

/// Has programs trust the authority, and makes sure that requests are intercepted and nothing else gets out. Blocks for up to 10 s.
///
/// Fails where one of that is not so: then no command must run.
pub fn prepare(env: &mut BTreeMap<OsString, OsString>) -> anyhow::Result<()> {
    let started = Instant::now();
    let deadline = started + PATIENCE;
    let system = SYSTEM_BUNDLES.into_iter().find(|bundle| Path::new(bundle).exists()).unwrap_or(SYSTEM_BUNDLES[0]);
    let directories = directories(env.get(OsStr::new("HOME")));
    let earlier = earlier_authorities(Path::new(system), &directories);
    let authority = retry(deadline, || {
        let authority = fs::read_to_string(AUTHORITY)?;
        let is_earlier = earlier.iter().any(|earlier| earlier == authority.trim_end());
        let is_awaited = is_earlier && started.elapsed() < RENEWAL_PATIENCE;
        if is_awaited { Err(io::Error::other("it is that of an earlier start")) } else { Ok(authority) }
    });
    let authority = authority.with_context(|| format!("cannot read {AUTHORITY}"))?;
    let bundle = trust(&authority, Path::new(system), &directories)?;
    trust_in_java(&bundle, env.get(OsStr::new("JAVA_HOME")).map(Path::new));
    for name in BUNDLE_VARIABLES {
        env.entry(name.into()).or_insert_with(|| bundle.clone().into());
    }
    env.entry(EXTRA_VARIABLE.into()).or_insert_with(|| AUTHORITY.into());
    retry(deadline, ask_canary).context("requests are not intercepted")?;
    if is_open(OUTSIDE) {
        bail!("the network is open: {OUTSIDE} is reached although network rules hold");
    }
    Ok(())
}

fn retry<T>(deadline: Instant, attempt: impl Fn() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
}

/// The authorities in the bundles of earlier starts: a container that starts from a snapshot has their last certificate in its place as well,
/// until the platform places the new one.
fn earlier_authorities(system: &Path, directories: &[PathBuf]) -> Vec<String> {
    let own = directories.iter().map(|directory| directory.join(BUNDLE));
    let bundles = own.chain([system.to_owned()]).filter_map(|bundle| fs::read_to_string(bundle).ok());
    bundles.filter_map(|bundle| Some(bundle[authority_range(&bundle)?].trim_end().to_owned())).collect()
}

/// Where the authority stands in a bundle.
fn authority_range(bundle: &str) -> Option<Range<usize>> {
    let begin = bundle.find(BEGIN)? + BEGIN.len();
    let end = bundle.find(END)?;
    (begin <= end).then_some(begin..end)
}

/// Where the agent may keep its bundle, best place first: an agent that is not root keeps it with what is its user's.
fn directories(home: Option<&OsString>) -> Vec<PathBuf> {
    let user = geteuid();
    let home = home.map(Path::new).filter(|home| home.is_absolute() && !user.is_root()).map(|home| home.join(".cabana"));
    let temporary = std::env::temp_dir().join(format!("cabana-{}", user.as_raw()));
    [Some(DIRECTORY.into()), home, Some(temporary)].into_iter().flatten().collect()
}

/// Writes a bundle of the system's certificates and the authority's, and gives its path. The system's own bundle gets the authority too
/// where the agent may write it: some programs read nothing else, and sudo passes no variables on.
fn trust(authority: &str, system: &Path, directories: &[PathBuf]) -> anyhow::Result<PathBuf> {
    let present = match fs::read_to_string(system) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        present => present.with_context(|| format!("cannot read {}", system.display()))?,
    };
    let bundle = with_authority(&present, authority);
    let own = keep(&bundle, directories)?;
    if let Err(error) = replace_system(system, &bundle) {
        tracing::info!("programs that read no other certificates than {} fail under network rules: {error}", system.display());
    }
    Ok(own)
}

/// Has the Java that is installed trust the certificates of the bundle, and no others. Where the agent may not write its key store, programs in
/// Java fail under network rules.
fn trust_in_java(bundle: &Path, java_home: Option<&Path>) {
    for store in java::stores(java_home) {
        let content = fs::read_to_string(bundle).and_then(|bundle| java::key_store(&bundle));
        if let Err(error) = content.and_then(|content| replace(&store, &content)) {
            tracing::info!("programs in Java that trust {} fail under network rules: {error}", store.display());
        }
    }
}

/// Keeps the bundle in the first directory that takes it.
fn keep(bundle: &str, directories: &[PathBuf]) -> anyhow::Result<PathBuf> {
    let mut refusals = Vec::new();
    for directory in directories {
        let path = directory.join(BUNDLE);
        match own_directory(directory).and_then(|()| replace(&path, bundle.as_bytes())) {
            Ok(()) => return Ok(path),
            Err(error) => refusals.push(format!("{}: {error}", path.display())),
        }
    }
    bail!("cannot write the authority's certificate: {}", refusals.join(", "))
}

/// Makes a directory that everyone may read. One that is there is the agent's own only where its user made it.
fn own_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() {
        return Err(io::Error::other("not a directory of the agent's user"));
    }
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

fn replace_system(bundle: &Path, content: &str) -> io::Result<()> {
    bundle.parent().map_or(Ok(()), fs::create_dir_all)?;
    // Some distributions keep a link there.
    replace(&fs::canonicalize(bundle).unwrap_or_else(|_| bundle.to_owned()), content.as_bytes())
}

/// Replaces a file in one go, because programs may be reading it. The new one has a name that nobody can have prepared a link for.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = NamedTempFile::new_in(path.parent().unwrap_or(Path::new("/")))?;
    new.write_all(content)?;
    new.as_file().set_permissions(Permissions::from_mode(0o644))?;
    new.persist(path)?;
    Ok(())
}

/// The bundle with the authority at its end, in place of that of an earlier start.
fn with_authority(bundle: &str, authority: &str) -> String {
    let rest = authority_range(bundle).map_or_else(
        || bundle.to_owned(),
        |range| [&bundle[..range.start - BEGIN.len()], &bundle[range.end + END.len()..]].concat(),
    );
    let separator = if rest.is_empty() || rest.ends_with('\n') { "" } else { "\n" };
    format!("{rest}{separator}{BEGIN}{}\n{END}", authority.trim_end())
}

/// Sends a request that the Worker answers.
fn ask_canary() -> io::Result<()> {
    let address = CANARY.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: canary.cabana.internal\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    if &head == b"HTTP/1.1 204" { Ok(()) } else { Err(io::Error::other(String::from_utf8_lossy(&head).into_owned())) }
}

/// Whether a server outside is reached. The development engine accepts every connection and resets it.
fn is_open(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, OUTSIDE_WAIT) else { return false };
    // A server of TLS waits for its client to speak first. Where nothing can be asked, take the worse to be true.
    let asked = stream.set_read_timeout(Some(OUTSIDE_WAIT)).and_then(|()| stream.read(&mut [0]));
    match asked {
        Ok(read) => read > 0,
        Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_authority_of_an_earlier_start_is_replaced() {
        let once = with_authority("A\n", "first\n");
        assert_eq!(once, format!("A\n{BEGIN}first\n{END}"));
        assert_eq!(with_authority(&once, "second"), format!("A\n{BEGIN}second\n{END}"));
        assert_eq!(with_authority(&format!("{once}B"), "second"), format!("A\nB\n{BEGIN}second\n{END}"));
        assert_eq!(with_authority("", "x"), format!("{BEGIN}x\n{END}"));
    }

    /// A system's bundle with one certificate, and the directory that it is in.
    fn system() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let bundle = directory.path().join("system/certs.crt");
        fs::create_dir(bundle.parent().unwrap()).unwrap();
        fs::write(&bundle, "A\n").unwrap();
        (directory, bundle)
    }

    #[test]
    fn the_system_s_bundle_and_the_agent_s_own_hold_the_newest_authority() {
        let (directory, system) = system();
        let own = directory.path().join("made/own");
        for authority in ["first", "second"] {
            assert_eq!(trust(authority, &system, std::slice::from_ref(&own)).unwrap(), own.join(BUNDLE));
            for bundle in [&system, &own.join(BUNDLE)] {
                assert_eq!(fs::read_to_string(bundle).unwrap(), format!("A\n{BEGIN}{authority}\n{END}"));
                assert_eq!(fs::metadata(bundle).unwrap().mode() & 0o777, 0o644, "everyone may read it");
                assert_eq!(fs::read_dir(bundle.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
            }
        }
        let made = directory.path().join("etc/certs.crt");
        trust("x", &made, &[own]).unwrap();
        assert_eq!(fs::read_to_string(made).unwrap(), format!("{BEGIN}x\n{END}"));
    }

    #[test]
    fn the_authorities_of_earlier_starts_are_known() {
        let (directory, system) = system();
        let directories = [directory.path().join("nothing"), directory.path().join("own")];
        assert!(earlier_authorities(&system, &directories).is_empty());
        keep(&with_authority("A\n", "first\n"), &directories[1..]).unwrap();
        assert_eq!(earlier_authorities(&system, &directories), ["first"]);
        replace_system(&system, &with_authority("A\n", "second")).unwrap();
        assert_eq!(earlier_authorities(&system, &directories), ["first", "second"]);
    }

    #[test]
    fn a_system_s_bundle_that_cannot_be_written_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        // Nobody makes a file beside it.
        let system = Path::new("/proc/version");
        let own = trust("x", system, &[directory.path().join("own")]).unwrap();
        assert!(fs::read_to_string(own).unwrap().starts_with(&fs::read_to_string(system).unwrap()));
    }

    #[test]
    fn the_bundle_is_kept_in_the_first_directory_that_is_the_agent_s_own() {
        let (directory, system) = system();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path(), &link).unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let not_own = [file.join("below"), file, link, "/proc/cabana".into()];
        let own = directory.path().join("own");
        assert_eq!(trust("x", &system, &[&not_own[..], std::slice::from_ref(&own)].concat()).unwrap(), own.join(BUNDLE));
        let error = trust("x", &system, &not_own).unwrap_err().to_string();
        assert!(error.contains("/proc/cabana"), "{error}");
    }

    #[test]
    fn an_open_way_out_is_told_from_a_closed_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(is_open(address), "a server that waits for its client");
        let closing = thread::spawn(move || {
            // The first waits in the queue, the second is closed at once.
            let _first = listener.accept().unwrap();
            drop(listener.accept().unwrap());
        });
        assert!(!is_open(address), "a connection that is closed at once");
        closing.join().unwrap();
        assert!(!is_open(address), "a port that nobody listens on");
    }
}
