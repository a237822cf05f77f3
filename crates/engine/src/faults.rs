//! Faults of container starts, which tests inject to see how clients react.
//!
//! An engine has them only where its command line says so. See [`crate::sidecar`] for those of the network.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::container::spec::Spec;

/// What a fault does to the starts that it hits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The engine refuses them.
    Refuse,
    /// The engine refuses them in the words of the platform, where no machine is free.
    NoCapacity,
    /// They are not answered until the fault is removed.
    Hang,
    /// They are carried out so many milliseconds late.
    Late(u64),
    /// They are accepted and come to nothing; whoever waits for the container's end is told these words.
    Lack(String),
    /// They are carried out, and whoever waits for the container's end is told these words at once.
    Lie(String),
    /// The containers are not removed, and nobody is answered who asks for that, until the fault is removed.
    Undying,
    /// They are carried out; commits of their containers are refused.
    RefuseCommit,
    /// They are carried out; commits of their containers begin so many milliseconds late.
    LateCommit(u64),
    /// The container runs this program, with these arguments, in place of the agent.
    Run(Vec<String>),
}

impl FaultKind {
    fn is_of_commits(&self) -> bool {
        matches!(self, Self::RefuseCommit | Self::LateCommit(_))
    }

    fn is_of_starts(&self) -> bool {
        !self.is_of_commits() && !matches!(self, Self::Run(_) | Self::Undying)
    }
}

/// One fault, and which starts it hits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartFault {
    kind: FaultKind,
    /// It hits containers with a variable whose value contains this text.
    environment: String,
    /// How many starts it hits; `None`: all, until it is removed.
    starts: Option<usize>,
    /// The containers whose starts it has hit, by name.
    #[serde(default)]
    hits: Vec<String>,
}

/// Why an injected fault refuses a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectedError {
    /// By [`FaultKind::Refuse`].
    #[error("an injected fault refuses this start")]
    Refused,
    /// By [`FaultKind::RefuseCommit`].
    #[error("an injected fault refuses this commit")]
    RefusedCommit,
    /// By [`FaultKind::NoCapacity`].
    #[error("there is no container instance that can be provided to this durable object")]
    NoCapacity,
}

/// The faults in force, by name.
#[derive(Debug, Default)]
pub struct StartFaults {
    faults: watch::Sender<BTreeMap<String, StartFault>>,
    /// What the next one is told who waits for the end of these containers. Held for single operations.
    words: Mutex<BTreeMap<String, String>>,
}

impl StartFaults {
    /// Injects a fault, in place of the one of this name.
    pub fn inject(&self, name: String, fault: StartFault) {
        self.faults.send_modify(|faults| drop(faults.insert(name, fault)));
    }

    /// The fault of this name.
    pub fn find(&self, name: &str) -> Option<StartFault> {
        self.faults.borrow().get(name).cloned()
    }

    /// Removes a fault; starts that hang because of it proceed.
    pub fn remove(&self, name: &str) -> Option<StartFault> {
        let mut removed = None;
        self.faults.send_modify(|faults| removed = faults.remove(name));
        removed
    }

    /// Applies the fault that hits this commit, if any. Returns when the commit may proceed.
    pub async fn delay_or_refuse_commit(&self, container: &str, spec: &Spec) -> Result<(), InjectedError> {
        match self.hit(container, spec, FaultKind::is_of_commits) {
            Some((_, FaultKind::RefuseCommit)) => Err(InjectedError::RefusedCommit),
            Some((_, FaultKind::LateCommit(milliseconds))) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The program that an injected fault runs in place of this container's own.
    pub fn program(&self, container: &str, spec: &Spec) -> Option<Vec<String>> {
        let (_, kind) = self.hit(container, spec, |kind| matches!(kind, FaultKind::Run(_)))?;
        if let FaultKind::Run(argv) = kind { Some(argv) } else { None }
    }

    /// Applies the fault that hits this start, if any. Returns when the start may proceed; `false` where it is to come to nothing.
    pub async fn delay_or_refuse(&self, container: &str, spec: &Spec) -> Result<bool, InjectedError> {
        match self.hit(container, spec, FaultKind::is_of_starts) {
            Some((_, FaultKind::Refuse)) => Err(InjectedError::Refused),
            Some((_, FaultKind::NoCapacity)) => Err(InjectedError::NoCapacity),
            Some((name, FaultKind::Hang)) => {
                self.wait_for_removal(&name).await;
                Ok(true)
            }
            Some((_, FaultKind::Late(milliseconds))) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                Ok(true)
            }
            Some((_, kind @ (FaultKind::Lack(_) | FaultKind::Lie(_)))) => {
                let starts = matches!(kind, FaultKind::Lie(_));
                if let FaultKind::Lack(words) | FaultKind::Lie(words) = kind {
                    self.words.lock().unwrap_or_else(PoisonError::into_inner).insert(container.to_owned(), words);
                }
                Ok(starts)
            }
            // Those of other calls.
            Some(_) | None => Ok(true),
        }
    }

    /// What is told to whoever waits for the end of this container, in place of its exit code.
    pub fn words_of_end(&self, container: &str) -> Option<String> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).remove(container)
    }

    /// Returns when the container may be removed.
    pub async fn delay_removal(&self, container: &str, spec: &Spec) {
        if let Some((name, _)) = self.hit(container, spec, |kind| *kind == FaultKind::Undying) {
            self.wait_for_removal(&name).await;
        }
    }

    async fn wait_for_removal(&self, name: &str) {
        let mut faults = self.faults.subscribe();
        // The sender lives as long as `self`.
        let _ = faults.wait_for(|faults| !faults.contains_key(name)).await;
    }

    /// Returns the first fault among the `eligible` that hits a start, and records the container there.
    fn hit(&self, container: &str, spec: &Spec, eligible: impl Fn(&FaultKind) -> bool) -> Option<(String, FaultKind)> {
        let mut found = None;
        self.faults.send_if_modified(|faults| {
            let fault = faults.iter_mut().find(|(_, fault)| eligible(&fault.kind) && fault.matches(spec));
            found = fault.map(|(name, fault)| {
                fault.hits.push(container.to_owned());
                (name.clone(), fault.kind.clone())
            });
            found.is_some()
        });
        found
    }
}

impl StartFault {
    fn matches(&self, spec: &Spec) -> bool {
        let is_left = self.starts.is_none_or(|starts| self.hits.len() < starts);
        is_left && spec.env.iter().any(|(_, value)| value.contains(&self.environment))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use super::*;

    /// Polls a future once.
    fn is_pending(future: Pin<&mut impl Future>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    fn spec(value: &str) -> Spec {
        Spec::parse(format!(r#"{{"Image":"a","Env":["CASE={value}"]}}"#).as_bytes()).unwrap()
    }

    fn fault(text: &str) -> StartFault {
        serde_json::from_str(text).unwrap()
    }

    #[tokio::test]
    async fn a_fault_hits_its_number_of_starts_of_matching_containers() {
        let faults = StartFaults::default();
        assert_eq!(faults.delay_or_refuse("c", &spec("one")).await, Ok(true));
        faults.inject("a".to_owned(), fault(r#"{"kind":"refuse","environment":"one","starts":1}"#));
        faults.inject("b".to_owned(), fault(r#"{"kind":"no_capacity","environment":"two"}"#));
        assert_eq!(faults.delay_or_refuse("c", &spec("three")).await, Ok(true));
        assert_eq!(faults.delay_or_refuse("c", &spec("is-one-too")).await, Err(InjectedError::Refused));
        assert_eq!(faults.delay_or_refuse("c", &spec("one")).await, Ok(true));
        for _ in 0..3 {
            assert_eq!(faults.delay_or_refuse("c", &spec("two")).await, Err(InjectedError::NoCapacity));
        }
        assert_eq!((faults.find("a").unwrap().hits.len(), faults.remove("b").unwrap().hits), (1, vec!["c".to_owned(); 3]));
        assert_eq!(faults.delay_or_refuse("c", &spec("two")).await, Ok(true));
    }

    #[tokio::test]
    async fn a_start_hangs_until_the_fault_is_removed() {
        let faults = StartFaults::default();
        faults.inject("a".to_owned(), fault(r#"{"kind":"hang","environment":"one"}"#));
        let spec = spec("one");
        let mut start = pin!(faults.delay_or_refuse("c", &spec));
        assert!(is_pending(start.as_mut()));
        faults.inject("b".to_owned(), fault(r#"{"kind":"refuse","environment":"two"}"#));
        assert!(is_pending(start.as_mut()));
        faults.remove("a");
        assert_eq!(start.await, Ok(true));
    }

    #[tokio::test]
    async fn a_start_comes_to_nothing_and_whoever_waits_is_told_why() {
        let faults = StartFaults::default();
        faults.inject("a".to_owned(), fault(r#"{"kind":{"lack":"no machine"},"environment":"one","starts":1}"#));
        assert_eq!(faults.delay_or_refuse("c", &spec("one")).await, Ok(false));
        assert_eq!((faults.words_of_end("c").as_deref(), faults.words_of_end("c")), (Some("no machine"), None));
        assert_eq!(faults.delay_or_refuse("c", &spec("one")).await, Ok(true));
        faults.inject("b".to_owned(), fault(r#"{"kind":{"lie":"it has ended"},"environment":"two"}"#));
        assert_eq!(faults.delay_or_refuse("c", &spec("two")).await, Ok(true));
        assert_eq!(faults.words_of_end("c").as_deref(), Some("it has ended"));
    }

    #[tokio::test]
    async fn a_container_is_not_removed_until_the_fault_is() {
        let faults = StartFaults::default();
        faults.inject("a".to_owned(), fault(r#"{"kind":"undying","environment":"one"}"#));
        let spec = spec("one");
        let mut removal = pin!(faults.delay_removal("c", &spec));
        assert!(is_pending(removal.as_mut()));
        faults.remove("a");
        removal.await;
        assert_eq!(faults.delay_or_refuse("c", &spec).await, Ok(true));
    }

    #[tokio::test]
    async fn faults_of_commits_hit_no_start() {
        let faults = StartFaults::default();
        faults.inject("a".to_owned(), fault(r#"{"kind":"refuse_commit","environment":"one","starts":1}"#));
        assert_eq!(faults.delay_or_refuse("c", &spec("one")).await, Ok(true));
        assert_eq!(faults.delay_or_refuse_commit("c", &spec("two")).await, Ok(()));
        assert_eq!(faults.delay_or_refuse_commit("c", &spec("one")).await, Err(InjectedError::RefusedCommit));
        assert_eq!(faults.delay_or_refuse_commit("c", &spec("one")).await, Ok(()));
        faults.inject("b".to_owned(), fault(r#"{"kind":{"late_commit":1},"environment":"one"}"#));
        assert_eq!(faults.delay_or_refuse_commit("c", &spec("one")).await, Ok(()));
    }

    #[tokio::test]
    async fn another_program_takes_the_place_of_the_agent() {
        let faults = StartFaults::default();
        faults.inject("a".to_owned(), fault(r#"{"kind":{"run":["sleep","1"]},"environment":"one"}"#));
        assert_eq!(faults.program("c", &spec("one")), Some(vec!["sleep".to_owned(), "1".to_owned()]));
        assert_eq!(faults.delay_or_refuse("c", &spec("one")).await, Ok(true));
        assert_eq!(faults.program("c", &spec("two")), None);
    }
}
