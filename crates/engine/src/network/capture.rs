//! Catches what leaves a network namespace.
//!
//! The namespace has no interface but loopback. A default route to loopback keeps the kernel from refusing other
//! addresses, and rules of nf_tables in the namespace send each outgoing TCP connection and each DNS query to a socket of
//! the engine ([nft(8)](https://manpages.debian.org/nft), "NAT statements"). A rule rejects everything else. Neither an
//! interface nor a rule appears on the host, and the rules end with the namespace.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use cabana_protocol::port::RESERVED_PORTS;
use netlink_bindings::nftables::{self, CmpOps, MetaKeys, Nfgenmsg, PayloadBase, PushExprListAttrs, Registers, RejectTypes};
use netlink_bindings::rt_addr::{self, Ifaddrmsg};
use netlink_bindings::rt_route::{self, RtmType, Rtmsg};
use netlink_bindings::traits::Pusher;
use netlink_socket2::NetlinkSocket;

/// The port of the loopback addresses on which the engine takes caught traffic. It is one of those that Cabana reserves in every sandbox.
const PORT: u16 = *RESERVED_PORTS.end();

/// The index of the loopback interface, in every network namespace.
const LOOPBACK: u32 = 1;

/// The addresses from which a sandbox's traffic leaves: of the benchmarking range (RFC 2544) and of a unique local prefix (RFC 4193).
const OWN_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfd49, 0xcaba, 0x4a00, 0, 0, 0, 0, 2);

/// Values of the kernel's headers that the bindings leave out.
const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const NF_INET_LOCAL_OUT: u32 = 3;
const PRIORITY_DNAT: i32 = -100;
const PRIORITY_FILTER: i32 = 0;
const NFT_NAT_DNAT: u32 = 1;
const ICMPX_ADMIN_PROHIBITED: u8 = 3;
/// The subsystem to which a batch of messages belongs.
const NFNL_SUBSYS_NFTABLES: u16 = 10;

const TABLE: &std::ffi::CStr = c"cabana";
const CATCH: &std::ffi::CStr = c"catch";
const REJECT: &std::ffi::CStr = c"reject";

/// The sockets at which caught traffic arrives.
#[derive(Debug)]
pub(super) struct CaptureSockets {
    /// Connections, of IPv4 and where the host has it of IPv6.
    pub(super) tcp: Vec<TcpListener>,
    /// DNS queries.
    pub(super) dns: Vec<UdpSocket>,
}

/// Installs address, route and rules in the calling thread's network namespace.
///
/// IPv6 is left out where the host has no route for it, because programs would prefer it to IPv4 and fail.
///
/// Fails where the kernel has no nf_tables or refuses them.
pub(super) fn install(with_ipv6: bool) -> io::Result<CaptureSockets> {
    let families = if with_ipv6 { &[Family::V4, Family::V6][..] } else { &[Family::V4] };
    let mut netlink = NetlinkSocket::new();
    for family in families {
        family.add_address(&mut netlink)?;
    }
    let mut sockets = CaptureSockets { tcp: Vec::new(), dns: Vec::new() };
    for family in families {
        let address = SocketAddr::new(family.loopback(), PORT);
        sockets.tcp.push(TcpListener::bind(address)?);
        sockets.dns.push(UdpSocket::bind(address)?);
    }
    add_rules(&mut netlink, families)?;
    // Last: without a route nothing leaves, whatever rules there are.
    for family in families {
        family.add_route(&mut netlink)?;
    }
    Ok(sockets)
}

/// Whether the host has a route to the IPv6 internet. Connecting a UDP socket looks for one and sends nothing.
pub(super) fn host_has_ipv6() -> bool {
    let anywhere = SocketAddr::from((Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111), 53));
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok_and(|socket| socket.connect(anywhere).is_ok())
}

#[derive(Debug, Clone, Copy)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn number(self) -> u8 {
        let number = match self {
            Self::V4 => libc::AF_INET,
            Self::V6 => libc::AF_INET6,
        };
        u8::try_from(number).unwrap_or_default()
    }

    fn loopback(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::LOCALHOST.into(),
            Self::V6 => Ipv6Addr::LOCALHOST.into(),
        }
    }

    fn own(self) -> IpAddr {
        match self {
            Self::V4 => OWN_V4.into(),
            Self::V6 => OWN_V6.into(),
        }
    }

    fn add_address(self, netlink: &mut NetlinkSocket) -> io::Result<()> {
        let bits = if matches!(self, Self::V4) { 32 } else { 128 };
        let header = Ifaddrmsg {
            ifa_family: self.number(),
            ifa_index: LOOPBACK,
            ifa_prefixlen: bits,
            // Without it an IPv6 address is no source of a route until the kernel has looked for duplicates, a moment later.
            ifa_flags: u8::try_from(libc::IFA_F_NODAD).unwrap_or_default(),
            ..Ifaddrmsg::default()
        };
        let mut request = rt_addr::Request::new().set_create().op_newaddr_do(&header);
        request.encode().push_local(self.own());
        netlink.request(&request)?.recv_ack()?;
        Ok(())
    }

    fn add_route(self, netlink: &mut NetlinkSocket) -> io::Result<()> {
        let header = Rtmsg {
            rtm_family: self.number(),
            rtm_table: libc::RT_TABLE_MAIN,
            rtm_protocol: libc::RTPROT_BOOT,
            rtm_scope: libc::RT_SCOPE_UNIVERSE,
            rtm_type: RtmType::Unicast as u8,
            ..Rtmsg::default()
        };
        let mut request = rt_route::Request::new().set_create().op_newroute_do(&header);
        request.encode().push_oif(LOOPBACK).push_prefsrc(self.own());
        netlink.request(&request)?.recv_ack()?;
        Ok(())
    }

    /// Matches what is not for the sandbox itself.
    fn leaves(self) -> Vec<Expression> {
        let address = |bytes: Vec<u8>, mask: Vec<u8>| {
            let (offset, length) = match self {
                Self::V4 => (16, 4),
                Self::V6 => (24, 16),
            };
            [
                Expression::Payload { base: PayloadBase::NetworkHeader, offset, length },
                Expression::And(mask),
                Expression::Compare(CmpOps::Neq, bytes),
            ]
        };
        let (protocol, outside) = match self {
            Self::V4 => {
                let loopback = address(vec![127, 0, 0, 0], vec![255, 0, 0, 0]);
                (NFPROTO_IPV4, [loopback, address(OWN_V4.octets().to_vec(), vec![255; 4])])
            }
            Self::V6 => {
                let loopback = address(Ipv6Addr::LOCALHOST.octets().to_vec(), vec![255; 16]);
                (NFPROTO_IPV6, [loopback, address(OWN_V6.octets().to_vec(), vec![255; 16])])
            }
        };
        let family = [Expression::Meta(MetaKeys::Nfproto), Expression::Compare(CmpOps::Eq, vec![protocol])];
        family.into_iter().chain(outside.into_iter().flatten()).collect()
    }

    /// The rule that catches TCP connections.
    fn catch_tcp(self) -> Vec<Expression> {
        let mut rule = self.leaves();
        rule.extend(transport(libc::IPPROTO_TCP));
        rule.push(Expression::SendTo(self));
        rule
    }

    /// The rule that catches DNS queries over UDP, to whichever server.
    fn catch_dns(self) -> Vec<Expression> {
        let mut rule = self.leaves();
        rule.extend(transport(libc::IPPROTO_UDP));
        rule.extend([
            Expression::Payload { base: PayloadBase::TransportHeader, offset: 2, length: 2 },
            Expression::Compare(CmpOps::Eq, 53_u16.to_be_bytes().to_vec()),
            Expression::SendTo(self),
        ]);
        rule
    }

    /// The rule that rejects what was not caught. Rules of this chain see the destination after those of the other chain have changed it.
    fn reject(self) -> Vec<Expression> {
        let mut rule = self.leaves();
        rule.push(Expression::Reject);
        rule
    }
}

fn transport(protocol: libc::c_int) -> [Expression; 2] {
    [Expression::Meta(MetaKeys::L4Proto), Expression::Compare(CmpOps::Eq, vec![u8::try_from(protocol).unwrap_or_default()])]
}

/// One expression of a rule, as nf_tables has them. All work on register 1.
enum Expression {
    /// Loads a property of the packet.
    Meta(MetaKeys),
    /// Loads bytes of a header.
    Payload { base: PayloadBase, offset: u32, length: u32 },
    /// Masks what is loaded.
    And(Vec<u8>),
    /// Ends the rule unless what is loaded compares so.
    Compare(CmpOps, Vec<u8>),
    /// Makes the engine's socket the destination.
    SendTo(Family),
    /// Answers with an ICMP error.
    Reject,
}

impl Expression {
    fn encode<P: Pusher>(&self, list: PushExprListAttrs<P>) -> PushExprListAttrs<P> {
        let register = Registers::Reg1 as u32;
        match self {
            Self::Meta(key) => {
                let meta = list.nested_elem().nested_data_meta().push_key(*key as u32).push_dreg(register);
                meta.end_nested().end_nested()
            }
            Self::Payload { base, offset, length } => {
                let payload = list.nested_elem().nested_data_payload().push_dreg(register).push_base(*base as u32);
                payload.push_offset(*offset).push_len(*length).end_nested().end_nested()
            }
            Self::And(mask) => {
                let length = u32::try_from(mask.len()).unwrap_or_default();
                let and = list.nested_elem().nested_data_bitwise().push_sreg(register).push_dreg(register).push_len(length);
                let and = and.nested_mask().push_value(mask).end_nested();
                and.nested_xor().push_value(&vec![0; mask.len()]).end_nested().end_nested().end_nested()
            }
            Self::Compare(operator, bytes) => {
                let compare = list.nested_elem().nested_data_cmp().push_sreg(register).push_op(*operator as u32);
                compare.nested_data().push_value(bytes).end_nested().end_nested().end_nested()
            }
            Self::SendTo(family) => {
                let address = match family.loopback() {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                };
                let port = Registers::Reg2 as u32;
                let list = load(list, register, &address);
                let list = load(list, port, &PORT.to_be_bytes());
                let nat = list.nested_elem().nested_data_nat().push_type(NFT_NAT_DNAT).push_family(family.number().into());
                nat.push_reg_addr_min(register).push_reg_proto_min(port).end_nested().end_nested()
            }
            Self::Reject => {
                let reject = list.nested_elem().nested_data_reject().push_type(RejectTypes::IcmpxUnreach as u32);
                reject.push_icmp_code(ICMPX_ADMIN_PROHIBITED).end_nested().end_nested()
            }
        }
    }
}

fn load<P: Pusher>(list: PushExprListAttrs<P>, register: u32, bytes: &[u8]) -> PushExprListAttrs<P> {
    let immediate = list.nested_elem().nested_data_immediate().push_dreg(register);
    immediate.nested_data().push_value(bytes).end_nested().end_nested().end_nested()
}

/// Adds the table in one transaction: all of its rules hold, or none.
fn add_rules(netlink: &mut NetlinkSocket, families: &[Family]) -> io::Result<()> {
    let batch = {
        let mut header = Nfgenmsg::new();
        header.set_res_id(NFNL_SUBSYS_NFTABLES);
        header
    };
    let message = Nfgenmsg { nfgen_family: NFPROTO_INET, ..Nfgenmsg::default() };
    let mut transaction = nftables::Chained::new(netlink.reserve_seq(64));
    transaction.request().op_batch_begin_do(&batch);
    transaction.request().set_create().op_newtable_do(&message).encode().push_name(TABLE);
    for (chain, kind, priority) in [(CATCH, c"nat", PRIORITY_DNAT), (REJECT, c"filter", PRIORITY_FILTER)] {
        let request = transaction.request().set_create().op_newchain_do(&message);
        let mut request = request;
        let attributes = request.encode().push_table(TABLE).push_name(chain);
        attributes.nested_hook().push_num(NF_INET_LOCAL_OUT).push_priority(priority).end_nested().push_type(kind);
    }
    for family in families {
        for (chain, rule) in [(CATCH, family.catch_tcp()), (CATCH, family.catch_dns()), (REJECT, family.reject())] {
            let mut request = transaction.request().set_create().set_append().op_newrule_do(&message);
            let list = request.encode().push_table(TABLE).push_chain(chain).nested_expressions();
            rule.iter().fold(list, |list, expression| expression.encode(list)).end_nested();
        }
    }
    transaction.request().op_batch_end_do(&batch);
    netlink.request_chained(&transaction.finalize())?.recv_all()?;
    Ok(())
}
