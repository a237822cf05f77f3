//! `~.` at the beginning of a line leaves a terminal, as in ssh.

/// Looks for the escape in what is typed.
#[derive(Debug, Default)]
pub(crate) struct Escape {
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A tilde would begin an escape.
    #[default]
    LineStart,
    /// A tilde has been typed and is held back.
    Tilde,
    /// Within a line.
    Line,
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    /// What is passed on.
    pub(crate) keys: Vec<u8>,
    /// Whether the terminal is left.
    pub(crate) leaves: bool,
}

impl Escape {
    /// Takes what was typed. `~~` is one tilde.
    pub(crate) fn push(&mut self, typed: &[u8]) -> Typed {
        let mut keys = Vec::with_capacity(typed.len());
        for &key in typed {
            self.state = match (self.state, key) {
                (State::LineStart, b'~') => State::Tilde,
                (State::Tilde, b'.') => return Typed { keys, leaves: true },
                (state, key) => {
                    if state == State::Tilde && key != b'~' {
                        keys.push(b'~');
                    }
                    keys.push(key);
                    if matches!(key, b'\r' | b'\n' | 3 | 4) { State::LineStart } else { State::Line }
                }
            };
        }
        Typed { keys, leaves: false }
    }
}

#[cfg(test)]
mod tests {
    use super::{Escape, Typed};

    #[test]
    fn a_tilde_and_a_dot_leave_at_the_beginning_of_a_line_only() {
        for (pieces, passed, leaves) in [
            (&["~."][..], "", true),
            (&["ls\r~."], "ls\r", true),
            (&["ls\r~", "."], "ls\r", true),
            (&["ls ~.\r"], "ls ~.\r", false),
            (&["~/x"], "~/x", false),
            (&["~~."], "~.", false),
            (&["~\r~."], "~\r", true),
        ] {
            let mut escape = Escape::default();
            let mut all = Typed { keys: Vec::new(), leaves: false };
            for piece in pieces {
                let Typed { keys, leaves } = escape.push(piece.as_bytes());
                all.keys.extend(keys);
                all.leaves |= leaves;
            }
            assert_eq!((String::from_utf8(all.keys).unwrap().as_str(), all.leaves), (passed, leaves), "{pieces:?}");
        }
    }
}
