//! The variables that new commands and sessions get: the image's, those of the user that they run as, and on top what the sandbox, its
//! project and its kind change in them. The last may be replaced while the agent runs.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    sync::{Arc, PoisonError, RwLock},
};

use cabana_protocol::{
    Error,
    variables::{ImageVariables, SetVariables, VariableChanges},
};

use crate::process::{Identity, command};

/// What the agent's terminals understand.
const TERM: &str = "xterm-256color";

/// The variables of the agent's commands.
#[derive(Debug)]
pub struct CommandVariables {
    image: BTreeMap<OsString, OsString>,
    /// Locked to clone or replace what is in it, never across an await.
    current: RwLock<Current>,
}

/// What may be replaced.
#[derive(Debug)]
struct Current {
    /// See [`SetVariables::version`]; 0 from the start.
    version: u64,
    changes: Arc<VariableChanges>,
    /// The values, present ones and those before the last change: what started before may still show them.
    masked: Arc<[String]>,
}

impl CommandVariables {
    /// Those of the image, with these changes on top.
    pub fn new(image: BTreeMap<OsString, OsString>, changes: VariableChanges) -> Self {
        let masked = changes.values().flatten().cloned().collect();
        Self { image, current: RwLock::new(Current { version: 0, changes: Arc::new(changes), masked }) }
    }

    /// What a command gets that this user runs, on a terminal or not, before its session and its own request change it.
    pub fn base(&self, user: Option<&Identity>, terminal: bool) -> BTreeMap<OsString, OsString> {
        let mut env = self.image.clone();
        env.extend(user.into_iter().flat_map(Identity::variables));
        if terminal {
            env.insert("TERM".into(), TERM.into());
        }
        let changes = self.read(|current| Arc::clone(&current.changes));
        apply(&mut env, &changes);
        if terminal {
            hide_size(&mut env);
        }
        env
    }

    /// The image's, as a command of this user gets them.
    pub fn image(&self, user: Option<&Identity>) -> ImageVariables {
        let mut env = self.image.clone();
        env.extend(user.into_iter().flat_map(Identity::variables));
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        ImageVariables { env: env.into_iter().filter_map(text).collect() }
    }

    /// Replaces the changes, unless a later replacement has come already.
    ///
    /// Fails with `invalid_request` where one cannot be a variable.
    pub fn set(&self, request: SetVariables) -> Result<(), Error> {
        command::environment(BTreeMap::new(), &request.env)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if request.version > current.version {
            let values = |changes: &VariableChanges| changes.values().flatten().cloned().collect::<Vec<_>>();
            let masked = [values(&request.env), values(&current.changes)].concat().into();
            *current = Current { version: request.version, changes: Arc::new(request.env), masked };
        }
        Ok(())
    }

    /// The values that no summary shows.
    pub fn masked(&self) -> Arc<[String]> {
        self.read(|current| Arc::clone(&current.masked))
    }

    fn read<T>(&self, look: impl FnOnce(&Current) -> T) -> T {
        look(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Makes a shell's variables those of a command on a terminal.
pub(crate) fn prepare_for_terminal(env: &mut BTreeMap<OsString, OsString>) {
    env.insert("TERM".into(), TERM.into());
    hide_size(env);
}

/// They would go before the terminal's own size, which changes.
fn hide_size(env: &mut BTreeMap<OsString, OsString>) {
    env.retain(|name, _| name != "COLUMNS" && name != "LINES");
}

/// Sets and unsets these.
pub(crate) fn apply(env: &mut BTreeMap<OsString, OsString>, changes: &VariableChanges) {
    for (name, value) in changes {
        match value {
            Some(value) => env.insert(name.into(), value.into()),
            None => env.remove(OsStr::new(name)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(pairs: &[(&str, Option<&str>)]) -> VariableChanges {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
    }

    fn shown(variables: &CommandVariables, terminal: bool) -> String {
        let pair = |(name, value): (OsString, OsString)| format!("{}={}", name.to_str().unwrap(), value.to_str().unwrap());
        variables.base(None, terminal).into_iter().map(pair).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_sandbox_comes_on_top_of_its_image_and_may_be_replaced() {
        let image = ["A", "B", "LINES"].map(|name| (name.into(), "image".into())).into();
        let variables = CommandVariables::new(image, changes(&[("A", Some("old")), ("B", None)]));
        assert_eq!(shown(&variables, false), "A=old LINES=image");
        assert_eq!(shown(&variables, true), "A=old TERM=xterm-256color");
        for (version, env, expected) in [
            (5, &[("A", None), ("C", Some("new")), ("TERM", Some("dumb"))][..], "B=image C=new TERM=dumb"),
            (4, &[("A", Some("late"))], "B=image C=new TERM=dumb"),
            (6, &[], "A=image B=image TERM=xterm-256color"),
        ] {
            variables.set(SetVariables { version, env: changes(env) }).unwrap();
            assert_eq!(shown(&variables, true), expected);
        }
    }

    #[test]
    fn values_are_masked_also_right_after_their_replacement() {
        let variables = CommandVariables::new(BTreeMap::new(), changes(&[("A", Some("first")), ("B", None)]));
        assert_eq!(&*variables.masked(), ["first"]);
        variables.set(SetVariables { version: 1, env: changes(&[("A", Some("second"))]) }).unwrap();
        assert_eq!(&*variables.masked(), ["second", "first"]);
        let refused = SetVariables { version: 2, env: changes(&[("A=B", Some("third"))]) };
        assert!(variables.set(refused).is_err());
        assert_eq!(&*variables.masked(), ["second", "first"]);
    }
}
