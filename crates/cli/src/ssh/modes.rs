//! Settings of a terminal as SSH encodes them (RFC 4254, section 8), and as `stty` takes them.

use russh::Pty;

/// How a terminal of these modes is set up, as a command of the shell; empty where nothing is asked for. What `stty` does not know there,
/// stays as it is.
pub(super) fn setting(modes: &[(Pty, u32)]) -> String {
    let words: Vec<String> = modes.iter().filter_map(|(mode, value)| word(*mode, *value)).collect();
    if words.is_empty() { String::new() } else { format!("stty {} 2>/dev/null; ", words.join(" ")) }
}

/// One mode; `None` where it is none of those that programs see.
fn word(mode: Pty, value: u32) -> Option<String> {
    if let Some(name) = character(mode) {
        return Some(format!("{name} '{}'", key(value)?));
    }
    let name = flag(mode)?;
    Some(format!("{}{name}", if value == 0 { "-" } else { "" }))
}

/// A key as `stty` writes it. 255 stands for none.
fn key(value: u32) -> Option<String> {
    match u8::try_from(value).ok()? {
        0 | 255 => Some("^-".to_owned()),
        127 => Some("^?".to_owned()),
        control @ 1..32 => Some(format!("^{}", char::from(control + 64))),
        // A quote would end the word.
        b'\'' => None,
        printable @ 32..127 => Some(char::from(printable).to_string()),
        _ => None,
    }
}

fn character(mode: Pty) -> Option<&'static str> {
    Some(match mode {
        Pty::VINTR => "intr",
        Pty::VQUIT => "quit",
        Pty::VERASE => "erase",
        Pty::VKILL => "kill",
        Pty::VEOF => "eof",
        Pty::VSTART => "start",
        Pty::VSTOP => "stop",
        Pty::VSUSP => "susp",
        _ => return None,
    })
}

fn flag(mode: Pty) -> Option<&'static str> {
    Some(match mode {
        Pty::INLCR => "inlcr",
        Pty::IGNCR => "igncr",
        Pty::ICRNL => "icrnl",
        Pty::IXON => "ixon",
        Pty::IXOFF => "ixoff",
        Pty::ISIG => "isig",
        Pty::ICANON => "icanon",
        Pty::ECHO => "echo",
        Pty::ECHOE => "echoe",
        Pty::ECHOK => "echok",
        Pty::ECHONL => "echonl",
        Pty::NOFLSH => "noflsh",
        Pty::TOSTOP => "tostop",
        Pty::IEXTEN => "iexten",
        Pty::OPOST => "opost",
        Pty::ONLCR => "onlcr",
        Pty::OCRNL => "ocrnl",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_what_stty_takes_and_never_code() {
        for (modes, expected) in [
            (vec![], ""),
            (vec![(Pty::TTY_OP_ISPEED, 38_400), (Pty::CS8, 1)], ""),
            (vec![(Pty::VERASE, 127), (Pty::ECHO, 0), (Pty::ONLCR, 1)], "stty erase '^?' -echo onlcr 2>/dev/null; "),
            (vec![(Pty::VERASE, 8), (Pty::VINTR, 255), (Pty::VEOF, 4)], "stty erase '^H' intr '^-' eof '^D' 2>/dev/null; "),
            (vec![(Pty::VKILL, 39), (Pty::VQUIT, 300), (Pty::VSUSP, 200)], ""),
            (vec![(Pty::VKILL, 36)], "stty kill '$' 2>/dev/null; "),
        ] {
            assert_eq!(setting(&modes), expected, "{modes:?}");
        }
    }
}
