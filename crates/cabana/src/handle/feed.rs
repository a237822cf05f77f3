//! Commands that read the body of a request.

use cabana_protocol::{
    Error,
    exec::{Command, Exec},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use worker::{Headers, Method};

use super::{Body, Handle, Running, files};
use crate::{Result, wire::ORIGIN};

impl Handle {
    /// Starts a command that reads this content, of any size, as its stdin. The content is handed over as it comes: a command that does not read
    /// holds it up.
    ///
    /// ```
    /// # use cabana::{Result, Sandbox};
    /// # async fn example(env: &worker::Env, request: worker::Request) -> Result<()> {
    /// let sorted = Sandbox::get(env, "my-id")?.feed("sort -u", request).await?.output().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Fails as [`Exec`] says, and with `unsupported_media_type` where the command has another stdin or a terminal. Content that breaks off ends
    /// the command.
    pub async fn feed(&self, command: impl Into<Exec>, content: impl Into<Body>) -> Result<Running<Exec>> {
        let command = command.into();
        let headers = Headers::new();
        headers.set("content-type", "application/octet-stream")?;
        let url = format!("{ORIGIN}/v1/exec?{}", query(&command)?);
        let request = files::request(Method::Post, &url, Some(content.into()), &headers)?;
        self.begin(command, request).await
    }
}

/// A command as the query of its request: text as it is, lists as repeated parameters, all else as JSON.
fn query(command: &Exec) -> Result<String, Error> {
    let odd = |_| Error::invalid_request("the command cannot be encoded");
    let command = Exec { command: in_query(command), ..command.clone() };
    let Value::Object(fields) = serde_json::to_value(command).map_err(odd)? else { return Ok(String::new()) };
    let mut pairs = Vec::new();
    for (name, value) in fields {
        let values = if let Value::Array(values) = value { values } else { vec![value] };
        pairs.extend(values.into_iter().map(|value| {
            let text = if let Value::String(text) = value { text } else { value.to_string() };
            format!("{name}={}", utf8_percent_encode(&text, NON_ALPHANUMERIC))
        }));
    }
    Ok(pairs.join("&"))
}

/// In a query a list of one is a text, and a text is a script: the shell is told to run the program as it is.
fn in_query(command: &Exec) -> Command {
    match &command.command {
        Command::Argv(argv) if argv.len() == 1 => {
            let quoted = format!("'{}'", argv[0].replace('\'', r"'\''"));
            // The shell of a session is not to be replaced by the program.
            Command::Shell(if command.session.is_some() { quoted } else { format!("exec {quoted}") })
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cabana_protocol::{Data, decode_query};
    use percent_encoding::percent_decode_str;

    fn decoded(command: &Exec) -> Exec {
        let query = query(command).unwrap();
        let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        decode_query(pairs.map(|(name, text)| (decode(name), Data::from(decode(text).as_str())))).unwrap()
    }

    #[test]
    fn the_query_says_what_json_says() {
        let full = Exec {
            cwd: Some("a b&c".to_owned()),
            env: [("A".to_owned(), Some("1=\u{e9}".to_owned())), ("B".to_owned(), None)].into(),
            timeout_ms: Some(1_000),
            ..Exec::new("cat; echo 100%")
        };
        for command in [full, Exec::new(["wc", "-c"]), Exec::new("123")] {
            assert_eq!(decoded(&command), command);
        }
    }

    #[test]
    fn a_program_without_arguments_is_no_script() {
        let session = Some("s".to_owned());
        assert_eq!(decoded(&Exec::new(["it's"])).command, Command::from(r"exec 'it'\''s'"));
        assert_eq!(decoded(&Exec { session, ..Exec::new(["cat"]) }).command, Command::from("'cat'"));
    }
}
