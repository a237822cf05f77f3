//! Answers to the DNS queries of a sandbox.
//!
//! Queries go to the resolver of the host as they are, whichever server the sandbox has addressed. Without internet no name
//! exists. Names that workerd intercepts resolve to a placeholder where the resolver does not know them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::TEST_ADDRESS;
use super::rules::EgressRules;

/// The port of DNS.
pub(super) const PORT: u16 = 53;

/// Where the addresses of the host's resolver stand (resolv.conf(5)).
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What a name resolves to that workerd intercepts and DNS does not know. The sidecar of Cloudflare answers the same.
const PLACEHOLDER_V4: Ipv4Addr = Ipv4Addr::new(11, 0, 0, 1);
const PLACEHOLDER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const PLACEHOLDER_TTL: u32 = 60;

/// The domain of servers that tests run.
const TEST_DOMAIN: &str = ".cabana.test";

/// Queries of one sandbox that may be open. Further ones are dropped, and programs ask again.
const OPEN_QUERIES: usize = 256;

/// How long one server of the host's resolver has for an answer.
const SERVER_WAIT: Duration = Duration::from_secs(3);

/// How long a TCP connection may be silent between two queries (RFC 7766, 6.2.3).
const STREAM_IDLE: Duration = Duration::from_secs(10);

/// Largest message, by the length that TCP has for it.
const LARGEST: usize = u16::MAX as usize;

/// How a query came, and goes on.
#[derive(Debug, Clone, Copy)]
enum Transport {
    Udp,
    Tcp,
}

/// The resolver of one sandbox.
#[derive(Debug)]
pub(super) struct Resolver {
    open: Semaphore,
    /// Whether names below [`TEST_DOMAIN`] resolve to [`TEST_ADDRESS`].
    test_internet: bool,
}

impl Resolver {
    pub(super) fn new(test_internet: bool) -> Self {
        Self { open: Semaphore::new(OPEN_QUERIES), test_internet }
    }

    /// Answers the queries that arrive at a socket. Dropping it drops the open ones.
    pub(super) async fn serve(self: Arc<Self>, socket: UdpSocket, rules: watch::Receiver<EgressRules>) {
        let socket = Arc::new(socket);
        let mut queries = JoinSet::new();
        let mut buffer = vec![0; LARGEST];
        loop {
            // An error belongs to an earlier answer, whose receiver has gone.
            let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
            while queries.try_join_next().is_some() {}
            if queries.len() >= OPEN_QUERIES {
                continue;
            }
            let query = buffer[..length].to_vec();
            let (resolver, socket, rules) = (self.clone(), socket.clone(), rules.borrow().clone());
            queries.spawn(async move {
                if let Some(answer) = resolver.answer(&query, &rules, Transport::Udp).await {
                    // The client may have gone.
                    let _ = socket.send_to(&answer, client).await;
                }
            });
        }
    }

    /// Answers the queries of a TCP connection (RFC 7766), one after another.
    pub(super) async fn serve_stream(&self, mut client: TcpStream, rules: EgressRules) {
        while let Ok(Ok(query)) = timeout(STREAM_IDLE, receive(&mut client)).await {
            let Some(answer) = self.answer(&query, &rules, Transport::Tcp).await else { return };
            if !matches!(timeout(STREAM_IDLE, send(&mut client, &answer)).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// The answer to a query; `None` where there is none, as for what is no query.
    async fn answer(&self, query: &[u8], rules: &EgressRules, transport: Transport) -> Option<Vec<u8>> {
        let _permit = self.open.acquire().await.ok()?;
        let (question, is_intercepted) = {
            let packet = Packet::parse(query).ok()?;
            let question = packet.questions.first()?.clone().into_owned();
            let is_intercepted = rules.intercepts(&question.qname.to_string());
            (question, is_intercepted)
        };
        if !rules.internet {
            return if is_intercepted { placeholder(query, &question) } else { error(query, RCODE::NameError) };
        }
        if self.test_internet && question.qname.to_string().ends_with(TEST_DOMAIN) {
            return resolved(query, &question, Some(TEST_ADDRESS), None);
        }
        let Some(answer) = ask_host(query, transport).await else {
            return error(query, RCODE::ServerFailure);
        };
        let is_unknown = Packet::parse(&answer).is_ok_and(|packet| packet.rcode() == RCODE::NameError);
        if is_unknown && is_intercepted { placeholder(query, &question) } else { Some(answer) }
    }
}

/// Asks the servers of the host's resolver in turn.
async fn ask_host(query: &[u8], transport: Transport) -> Option<Vec<u8>> {
    for server in servers(&std::fs::read(RESOLV_CONF).unwrap_or_default()) {
        let answer = async {
            match transport {
                Transport::Udp => ask_by_udp(server, query).await,
                Transport::Tcp => ask_by_tcp(server, query).await,
            }
        };
        match timeout(SERVER_WAIT, answer).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%server, %error, "the resolver of the host does not answer"),
            Err(_) => tracing::debug!(%server, "the resolver of the host does not answer in time"),
        }
    }
    None
}

/// The servers that a resolv.conf names. Without any it is the host itself, as resolv.conf(5) has it.
fn servers(text: &[u8]) -> Vec<SocketAddr> {
    let config = resolv_conf::Config::parse(text).unwrap_or_default();
    let mut servers: Vec<IpAddr> = config.nameservers.iter().map(IpAddr::from).collect();
    if servers.is_empty() {
        servers.push(Ipv4Addr::LOCALHOST.into());
    }
    servers.into_iter().map(|address| SocketAddr::new(address, PORT)).collect()
}

async fn ask_by_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; LARGEST];
    loop {
        let length = socket.recv(&mut answer).await?;
        // An answer has the id of its query; another is a late or a forged one.
        if length >= 2 && answer[..2] == query[..2] {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn ask_by_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    send(&mut stream, query).await?;
    receive(&mut stream).await
}

async fn send(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes()[..], message].concat();
    stream.write_all(&framed).await
}

async fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

fn placeholder(query: &[u8], question: &Question<'_>) -> Option<Vec<u8>> {
    resolved(query, question, Some(PLACEHOLDER_V4), Some(PLACEHOLDER_V6))
}

fn resolved(query: &[u8], question: &Question<'_>, v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> Option<Vec<u8>> {
    let data = match question.qtype {
        QTYPE::TYPE(TYPE::A) => v4.map(|address| RData::A(A::from(address))),
        QTYPE::TYPE(TYPE::AAAA) => v6.map(|address| RData::AAAA(AAAA::from(address))),
        _ => None,
    };
    let mut reply = Packet::parse(query).ok()?.into_reply();
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
    if question.qclass == QCLASS::CLASS(CLASS::IN) {
        reply.answers.extend(data.map(|data| ResourceRecord::new(question.qname.clone(), CLASS::IN, PLACEHOLDER_TTL, data)));
    }
    reply.build_bytes_vec_compressed().ok()
}

fn error(query: &[u8], code: RCODE) -> Option<Vec<u8>> {
    let mut reply = Packet::parse(query).ok()?.into_reply();
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
    *reply.rcode_mut() = code;
    reply.build_bytes_vec_compressed().ok()
}

#[cfg(test)]
mod tests {
    use simple_dns::Name;

    use super::*;

    fn query(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        let name = Name::new(name).unwrap();
        packet.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
        packet.build_bytes_vec().unwrap()
    }

    #[tokio::test]
    async fn without_internet_only_intercepted_names_exist() {
        let resolver = Resolver::new(false);
        let rules = EgressRules { internet: false, intercepted: vec!["*.in.example".to_owned()], ..EgressRules::default() };
        for (name, kind, code, answers) in [
            ("a.in.example", TYPE::A, RCODE::NoError, 1),
            ("A.IN.example", TYPE::AAAA, RCODE::NoError, 1),
            ("a.in.example", TYPE::TXT, RCODE::NoError, 0),
            ("out.example", TYPE::A, RCODE::NameError, 0),
        ] {
            let answer = resolver.answer(&query(name, kind), &rules, Transport::Udp).await.unwrap();
            let packet = Packet::parse(&answer).unwrap();
            assert_eq!((packet.id(), packet.rcode(), packet.answers.len()), (7, code, answers), "{name}");
            assert_eq!(packet.questions.len(), 1, "{name}");
        }
        for garbage in [&b""[..], b"\0", &[0; 12], &[0xff; 300]] {
            assert_eq!(resolver.answer(garbage, &rules, Transport::Udp).await, None, "{garbage:?}");
        }
    }

    #[test]
    fn a_machine_without_servers_is_its_own() {
        let parse = |text: &str| servers(text.as_bytes()).into_iter().map(|server| server.to_string()).collect::<Vec<_>>();
        assert_eq!(parse("search a\nnameserver 192.0.2.1\nnameserver 2001:db8::1 # b\n"), ["192.0.2.1:53", "[2001:db8::1]:53"]);
        assert_eq!(parse(""), ["127.0.0.1:53"]);
    }
}
