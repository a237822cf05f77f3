//! Listening sockets, from `/proc/net/tcp` and `/proc/net/tcp6` (proc_net(5)).

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
};

use cabana_protocol::port::Protocol;

/// A socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listening {
    /// What it is bound to.
    pub(super) address: SocketAddr,
    pub(super) protocol: Protocol,
    /// Names it among the descriptors of processes.
    pub(super) inode: u64,
}

/// All of them in the sandbox's network.
///
/// Fails where there is no `/proc`; a kernel without IPv6 has no table of it.
pub(super) fn listening() -> io::Result<Vec<Listening>> {
    let mut all = parse(&fs::read_to_string("/proc/net/tcp")?, Protocol::Tcp4);
    all.extend(parse(&fs::read_to_string("/proc/net/tcp6").unwrap_or_default(), Protocol::Tcp6));
    Ok(all)
}

/// The socket that a descriptor's link in `/proc/<pid>/fd` names.
pub(super) fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn parse(table: &str, protocol: Protocol) -> Vec<Listening> {
    table.lines().filter_map(|line| parse_line(line, protocol)).collect()
}

/// A line's socket, if that listens. The header does not.
fn parse_line(line: &str, protocol: Protocol) -> Option<Listening> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let (local, state, inode) = (fields.nth(1)?, fields.nth(1)?, fields.nth(5)?);
    let (address, port) = local.split_once(':')?;
    let address = SocketAddr::new(parse_address(address)?, u16::from_str_radix(port, 16).ok()?);
    (state == LISTEN).then_some(Listening { address, protocol, inode: inode.parse().ok()? })
}

/// One word of 32 bits, or four, each printed in the machine's byte order though they stand in the network's.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(8 * at..8 * at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?);
            }
            Some(IpAddr::from(bytes))
        }
        _ => None,
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:13F8 00000000:0000 0A 00000000:0000000B 00:00000000 00000000     0        0 1022299 12 000000007ec4b6a2 100 0 0 10 0
   1: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1658 1 000000000ca3adf5 100 0 0 10 0
   2: 0100007F:13F8 0100007F:E134 01 00000000:00000000 02:00000257 00000000     0        0 1022392 2 00000000ec77d88f 20 4 31 12 -1
";

    const TCP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 77 1 0 100 0 0 10 0
   1: B80D0120000000000000000034120000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 78 1 0 100 0 0 10 0
";

    #[test]
    fn tables_are_read_as_the_kernel_writes_them() {
        let socket = |address: &str, protocol, inode| Listening { address: address.parse().unwrap(), protocol, inode };
        let tcp4 = [socket("127.0.0.1:5112", Protocol::Tcp4, 1_022_299), socket("0.0.0.0:2024", Protocol::Tcp4, 1_658)];
        let tcp6 = [socket("[::1]:80", Protocol::Tcp6, 77), socket("[2001:db8::1234]:8080", Protocol::Tcp6, 78)];
        assert_eq!(parse(TCP, Protocol::Tcp4), tcp4);
        assert_eq!(parse(TCP6, Protocol::Tcp6), tcp6);
    }

    #[test]
    fn what_is_no_socket_is_passed_over() {
        for line in
            ["", "0:", "0: 0100007F 0 0A", "0: 01007F:13F8 0:0 0A 0:0 0:0 0 0 0 5", "0: 0100007F:13F8 0:0 0A 0:0 0:0 0 0 0 x"]
        {
            assert_eq!(parse_line(line, Protocol::Tcp4), None, "{line}");
        }
        for (link, expected) in [("socket:[42]", Some(42)), ("socket:[x]", None), ("pipe:[42]", None), ("/dev/null", None)] {
            assert_eq!(inode(link), expected, "{link}");
        }
    }
}
