//! What the engine reads of a Dockerfile: that it is one, and the ports it exposes.

use std::collections::{BTreeMap, BTreeSet};

/// Why a text is not accepted as a Dockerfile.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DockerfileError {
    /// There is no FROM instruction.
    #[error("the Dockerfile has no FROM instruction")]
    NoFrom,
    /// An EXPOSE instruction names no port.
    #[error("EXPOSE {0}: not a port")]
    BadPort(String),
}

/// The ports that the last stage exposes, in Docker's spelling (`8080/tcp`). Variables that ARG or ENV lines
/// give a value are replaced; `arguments` (build arguments) win over an ARG's default.
pub fn exposed_ports(text: &str, arguments: &BTreeMap<String, String>) -> Result<BTreeSet<String>, DockerfileError> {
    let mut variables = BTreeMap::new();
    let mut ports = BTreeSet::new();
    let mut has_from = false;
    for line in logical_lines(text) {
        let (instruction, rest) = line.split_once(char::is_whitespace).unwrap_or((line.as_str(), ""));
        match instruction.to_ascii_uppercase().as_str() {
            "FROM" => {
                has_from = true;
                ports.clear();
            }
            "ARG" => argument(rest.trim(), arguments, &mut variables),
            "ENV" => environment(rest.trim(), &mut variables),
            "EXPOSE" => {
                for word in rest.split_whitespace() {
                    ports.extend(expand_port(&substitute(word, &variables))?);
                }
            }
            _ => {}
        }
    }
    if has_from { Ok(ports) } else { Err(DockerfileError::NoFrom) }
}

/// The variables that ENV lines of the last stage set, as containers of the image have them.
pub fn environment_of(text: &str, arguments: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let (mut variables, mut set) = (BTreeMap::new(), BTreeMap::new());
    for line in logical_lines(text) {
        let (instruction, rest) = line.split_once(char::is_whitespace).unwrap_or((line.as_str(), ""));
        match instruction.to_ascii_uppercase().as_str() {
            "FROM" => set.clear(),
            "ARG" => argument(rest.trim(), arguments, &mut variables),
            "ENV" => {
                environment(rest.trim(), &mut variables);
                let names = rest.split_whitespace().filter_map(|pair| Some(pair.split_once('=')?.0));
                set.extend(names.filter_map(|name| Some((name.to_owned(), variables.get(name)?.clone()))));
            }
            _ => {}
        }
    }
    set
}

/// Lines without comments, with continuations joined.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with('#') || (line.is_empty() && current.is_empty()) {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(start) => {
                current.push_str(start);
                current.push(' ');
            }
            None => {
                current.push_str(line);
                lines.push(std::mem::take(&mut current));
            }
        }
    }
    if !current.is_empty() {
        lines.push(current);
    }
    lines
}

/// An ARG without a default keeps the value that an earlier one gave it, as one before FROM may have.
fn argument(text: &str, arguments: &BTreeMap<String, String>, variables: &mut BTreeMap<String, String>) {
    let (name, default) = text.split_once('=').map_or((text, None), |(name, default)| (name, Some(default)));
    let default = default.map(|default| substitute(unquote(default), variables));
    if let Some(value) = arguments.get(name).cloned().or(default) {
        variables.insert(name.to_owned(), value);
    }
}

fn environment(text: &str, variables: &mut BTreeMap<String, String>) {
    for pair in text.split_whitespace() {
        if let Some((name, value)) = pair.split_once('=') {
            let value = substitute(unquote(value), variables);
            variables.insert(name.to_owned(), value);
        }
    }
}

fn unquote(text: &str) -> &str {
    text.trim_matches(['"', '\''])
}

/// Replaces variables as the Dockerfile reference does: `$name`, `${name}`, `${name:-word}` (the word where the variable is unset or
/// empty), `${name:+word}` (the word where it is neither), and `\$` for a dollar sign. An unknown variable is empty.
///
/// A brace without its end, and a `${…}` with another modifier, stay as they are.
fn substitute(text: &str, variables: &BTreeMap<String, String>) -> String {
    let value = |name: &str| variables.get(name).map(String::as_str).unwrap_or_default();
    let mut output = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '$']) {
        output.push_str(&rest[..at]);
        let (sign, after) = rest[at..].split_at(1);
        if sign == "\\" {
            // The escaped character stands for itself; only a dollar sign loses its backslash.
            let escaped = after.chars().next().map_or(0, char::len_utf8);
            output.push_str(if after.starts_with('$') { "" } else { sign });
            output.push_str(&after[..escaped]);
            rest = &after[escaped..];
        } else if let Some((expression, after)) = braced(after) {
            match expand(expression, variables) {
                Some(expanded) => output.push_str(&expanded),
                None => output.extend(["${", expression, "}"]),
            }
            rest = after;
        } else {
            let name = variable_name(after);
            output.push_str(if name.is_empty() { sign } else { value(name) });
            rest = &after[name.len()..];
        }
    }
    output.push_str(rest);
    output
}

/// The value of `name`, `name:-word` or `name:+word`; `None` for anything else.
fn expand(expression: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    let name = variable_name(expression);
    let value = variables.get(name).map(String::as_str).unwrap_or_default();
    let modifier = &expression[name.len()..];
    match (name, modifier.split_at_checked(2)) {
        ("", _) => None,
        _ if modifier.is_empty() => Some(value.to_owned()),
        (_, Some((":-", word))) if value.is_empty() => Some(substitute(word, variables)),
        (_, Some((":-", _))) => Some(value.to_owned()),
        (_, Some((":+", _))) if value.is_empty() => Some(String::new()),
        (_, Some((":+", word))) => Some(substitute(word, variables)),
        _ => None,
    }
}

/// Splits `{expression}rest`; braces within the expression are paired.
fn braced(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('{')?;
    let mut depth = 1_usize;
    for (at, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&inner[..at], &inner[at + 1..]));
        }
    }
    None
}

/// The longest variable name at the beginning of the text.
fn variable_name(text: &str) -> &str {
    let ends = |character: char| !(character.is_ascii_alphanumeric() || character == '_');
    let name = &text[..text.find(ends).unwrap_or(text.len())];
    if name.starts_with(|first: char| first.is_ascii_digit()) { "" } else { name }
}

/// `80` is `80/tcp`; `8000-8002/udp` is three ports.
fn expand_port(word: &str) -> Result<Vec<String>, DockerfileError> {
    let bad = || DockerfileError::BadPort(word.to_owned());
    let word = unquote(word);
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let first: u16 = first.parse().map_err(|_| bad())?;
    let last: u16 = last.parse().map_err(|_| bad())?;
    if first == 0 || last < first {
        return Err(bad());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[&str], DockerfileError>) {
        let expected = expected.map(|ports| ports.iter().map(|port| (*port).to_owned()).collect());
        assert_eq!(exposed_ports(text, &BTreeMap::new()), expected, "{text}");
    }

    #[test]
    fn the_last_stage_exposes_its_ports() {
        check("FROM a AS b\nEXPOSE 1\nFROM c\nexpose 49983 53/udp\n", Ok(&["49983/tcp", "53/udp"]));
        check("FROM a\n# EXPOSE 5\nEXPOSE \\\n  80 \\\n  81\n", Ok(&["80/tcp", "81/tcp"]));
        check("FROM a\nEXPOSE 8000-8002", Ok(&["8000/tcp", "8001/tcp", "8002/tcp"]));
        check("FROM a\nRUN true", Ok(&[]));
    }

    #[test]
    fn build_arguments_win_over_defaults() {
        check("ARG PORT=80\nFROM a\nEXPOSE ${PORT}\n", Ok(&["80/tcp"]));
        let arguments = BTreeMap::from([("PORT".to_owned(), "90".to_owned())]);
        let ports = exposed_ports("ARG PORT=80\nFROM a\nEXPOSE $PORT\n", &arguments);
        assert_eq!(ports, Ok(BTreeSet::from(["90/tcp".to_owned()])));
    }

    #[test]
    fn env_lines_of_the_last_stage_set_variables() {
        let text = "ARG V=1\nFROM a AS b\nENV GONE=x\nFROM c\nENV A=$V \\\n  B='two'\nenv C=${B}3\n";
        let expected = [("A", "1"), ("B", "two"), ("C", "two3")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(environment_of(text, &BTreeMap::new()), BTreeMap::from(expected));
    }

    #[test]
    fn variables_are_replaced_as_the_dockerfile_reference_says() {
        let variables = [("PORT", "80"), ("PORTAL", "gate"), ("EMPTY", "")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        for (text, expected) in [
            ("$PORT ${PORT}1", "80 801"),
            ("$PORTAL $PORTALS $PORT-$PORT", "gate  80-80"),
            ("${PORTAL}", "gate"),
            (r"\$PORT \${PORT} \n\\", r"$PORT ${PORT} \n\\"),
            ("${PORT:-90} ${EMPTY:-90} ${MISSING:-90}", "80 90 90"),
            ("${PORT:+90} ${EMPTY:+90} ${MISSING:+90}", "90  "),
            ("${MISSING:-${PORT}}/tcp ${MISSING:-$PORTAL}", "80/tcp gate"),
            ("${PORT ${PORT:?x} ${} $ $1 é$PORTé", "${PORT ${PORT:?x} ${} $ $1 é80é"),
        ] {
            assert_eq!(substitute(text, &variables), expected, "{text}");
        }
        check("ARG A=4\nARG B=${A}2\nFROM a\nARG B\nEXPOSE $B\n", Ok(&["42/tcp"]));
        check("FROM a\nENV A=1 AB=2\nEXPOSE $AB ${A}0 ${C:-3}\n", Ok(&["10/tcp", "2/tcp", "3/tcp"]));
    }

    #[test]
    fn malformed_dockerfiles_are_refused() {
        check("hello", Err(DockerfileError::NoFrom));
        check("FROM a\nEXPOSE x", Err(DockerfileError::BadPort("x".to_owned())));
        check("FROM a\nEXPOSE 9-8", Err(DockerfileError::BadPort("9-8".to_owned())));
    }
}
