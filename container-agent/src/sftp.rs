//! `cabana-agent sftp-server`: version 3 of SFTP on stdin and stdout, as the user who runs it (draft-ietf-secsh-filexfer-02, and OpenSSH's
//! PROTOCOL file for the extensions).
//!
//! It is a command like any other, so scopes, audit and limits are those of `exec`. Names are bytes. One request is carried out at a time, in
//! order; answers are flushed when no further request has come, so a client may have any number of them on the way.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`packet`] | fields of packets, read and written |
//! | [`attributes`] | what is said of a file, and changed of it |
//! | [`handles`] | open files and directories |
//! | [`server`] | the requests |
//! | [`extensions`] | those of OpenSSH |

mod attributes;
mod extensions;
mod handles;
mod packet;
mod server;

use std::{
    io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write},
    process::ExitCode,
};

use server::Server;

/// The name by which the program is asked for it.
pub const COMMAND: &str = "sftp-server";

/// Longest packet, without its length: that of OpenSSH.
const PACKET_BYTES: usize = 256 << 10;

/// Serves until the client closes stdin.
pub fn run() -> ExitCode {
    match serve(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // The client has gone.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sftp-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(input: impl Read, output: impl Write) -> io::Result<()> {
    let (mut input, mut output) = (BufReader::with_capacity(PACKET_BYTES, input), BufWriter::with_capacity(PACKET_BYTES, output));
    let (mut server, mut packet) = (Server::default(), Vec::new());
    loop {
        if input.buffer().is_empty() {
            output.flush()?;
            if input.fill_buf()?.is_empty() {
                return Ok(());
            }
        }
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        // Where the next packet begins is not known behind one that is not read.
        if !(1..=PACKET_BYTES).contains(&length) {
            output.flush()?;
            return Err(io::Error::new(ErrorKind::InvalidData, format!("a packet of {length} bytes, not 1 to {PACKET_BYTES}")));
        }
        packet.resize(length, 0);
        input.read_exact(&mut packet)?;
        server.answer(&packet, &mut output)?;
    }
}

#[cfg(test)]
mod tests {
    use super::{PACKET_BYTES, packet::Builder, serve};
    use std::os::unix::ffi::OsStrExt;

    /// Requests one after the other; gives the answers without their lengths.
    fn ask(requests: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut output = Vec::new();
        serve(requests.concat().as_slice(), &mut output).unwrap();
        let (mut rest, mut answers) = (output.as_slice(), Vec::new());
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (answer, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            answers.push(answer.to_vec());
            rest = after;
        }
        answers
    }

    fn packet(kind: u8, build: impl FnOnce(Builder) -> Builder) -> Vec<u8> {
        build(Builder::new(kind)).finish()
    }

    #[test]
    fn a_file_whose_name_is_no_text_is_written_read_renamed_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &[u8]| [directory.path().as_os_str().as_bytes(), b"/", name].concat();
        let (first, second) = (path(b"a\xff\n"), path(b"b"));
        let handle = 0_u32.to_be_bytes();
        let answers = ask(vec![
            packet(1, |p| p.u32(3)),
            packet(3, |p| p.u32(1).bytes(&first).u32(0x1a).u32(4).u32(0o640)),
            packet(6, |p| p.u32(2).bytes(&handle).u64(3).bytes(b"def")),
            packet(6, |p| p.u32(3).bytes(&handle).u64(0).bytes(b"abc")),
            packet(4, |p| p.u32(4).bytes(&handle)),
            packet(3, |p| p.u32(5).bytes(&first).u32(1).u32(0)),
            packet(5, |p| p.u32(6).bytes(&handle).u64(1).u32(4)),
            packet(5, |p| p.u32(7).bytes(&handle).u64(6).u32(4)),
            packet(18, |p| p.u32(8).bytes(&first).bytes(&second)),
            packet(18, |p| p.u32(9).bytes(&second).bytes(&second)),
            packet(17, |p| p.u32(10).bytes(&second)),
            packet(13, |p| p.u32(11).bytes(&second)),
            packet(17, |p| p.u32(12).bytes(&second)),
        ]);
        let status = |answer: &[u8]| (answer[0] == 101).then(|| u32::from_be_bytes(answer[5..9].try_into().unwrap()));
        assert_eq!((answers[0][0], &answers[0][1..5]), (2, [0, 0, 0, 3].as_slice()));
        let expected = [None, Some(0), Some(0), Some(0), None, None, Some(1), Some(0), Some(4), None, Some(0), Some(2)];
        let found: Vec<_> = answers[1..].iter().map(|answer| status(answer)).collect();
        assert_eq!(found, expected);
        assert_eq!(answers[6], [&[103, 0, 0, 0, 6, 0, 0, 0, 4][..], b"bcde"].concat());
        assert_eq!(answers[10][0], 105);
        assert_eq!(answers[10][9..17], 6_u64.to_be_bytes());
    }

    #[test]
    fn a_malformed_request_is_answered_and_the_next_one_is_carried_out() {
        let answers = ask(vec![
            packet(3, |p| p.u32(7)),
            packet(250, |p| p.u32(8)),
            packet(5, |p| p.u32(9).bytes(b"no handle").u64(0).u32(1)),
        ]);
        let codes: Vec<_> = answers.iter().map(|answer| (answer[0], answer[4], answer[8])).collect();
        assert_eq!(codes, [(101, 7, 5), (101, 8, 8), (101, 9, 4)]);
        for length in [0, PACKET_BYTES as u32 + 1] {
            assert!(serve(length.to_be_bytes().as_slice(), Vec::new()).is_err(), "{length}");
        }
        assert!(serve([0, 0, 0, 9, 1].as_slice(), Vec::new()).is_err(), "a packet that is cut off");
    }
}
