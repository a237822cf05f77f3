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

fn argument(text: &str, arguments: &BTreeMap<String, String>, variables: &mut BTreeMap<String, String>) {
    let (name, default) = text.split_once('=').unwrap_or((text, ""));
    let value = arguments.get(name).map_or(unquote(default), String::as_str);
    variables.insert(name.to_owned(), value.to_owned());
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

fn substitute(text: &str, variables: &BTreeMap<String, String>) -> String {
    variables.iter().rev().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
    })
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
    fn ports_of_the_last_stage() {
        check("FROM a AS b\nEXPOSE 1\nFROM c\nexpose 49983 53/udp\n", Ok(&["49983/tcp", "53/udp"]));
        check("FROM a\n# EXPOSE 5\nEXPOSE \\\n  80 \\\n  81\n", Ok(&["80/tcp", "81/tcp"]));
        check("FROM a\nEXPOSE 8000-8002", Ok(&["8000/tcp", "8001/tcp", "8002/tcp"]));
        check("FROM a\nRUN true", Ok(&[]));
    }

    #[test]
    fn variables_and_build_arguments() {
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
    fn what_is_not_a_dockerfile() {
        check("hello", Err(DockerfileError::NoFrom));
        check("FROM a\nEXPOSE x", Err(DockerfileError::BadPort("x".to_owned())));
        check("FROM a\nEXPOSE 9-8", Err(DockerfileError::BadPort("9-8".to_owned())));
    }
}
