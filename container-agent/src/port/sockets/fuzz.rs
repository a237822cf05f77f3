//! Fuzzing of proc_net(5).

use super::*;

/// A table, or the link of a descriptor: each socket that is read from it is read again from a line as the kernel writes it.
pub fn sockets(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for protocol in [Protocol::Tcp4, Protocol::Tcp6] {
        for socket in parse(text, protocol) {
            assert_eq!(parse(&line(&socket), protocol), [socket]);
        }
    }
    if let Some(number) = inode(text.lines().next().unwrap_or_default()) {
        assert_eq!(inode(&format!("socket:[{number}]")), Some(number));
    }
}

fn line(socket: &Listening) -> String {
    let octets = match socket.address.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| u32::from_ne_bytes(std::array::from_fn(|at| word[at])));
    let address: String = words.map(|word| format!("{word:08X}")).collect();
    let (port, inode) = (socket.address.port(), socket.inode);
    format!("   0: {address}:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 {inode} 1 0 100 0 0 10 0\n")
}
