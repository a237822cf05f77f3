//! Finding the members of trees among all processes, and signalling them.
//!
//! Many processes that fork leave the agent little processor time. So a member is signalled as soon as it is known for one, before more is read
//! of any other: what is stopped or ended leaves the agent more of it.

use std::{collections::HashSet, io};

use cabana_protocol::Signal;
use rustix::process::{Pid, getpid};

use super::{
    freeze::{self, Freeze},
    kill::{Whom, send},
    members::Members,
    proc::{self, Entry},
};

/// Looks at the processes, signals the members of each tree by what it says, and tells for each whether it had any.
pub(super) fn signal(trees: &[(&Members, Option<Signal>)]) -> Vec<bool> {
    let mut searches = Searches::new(trees);
    let (all, freeze) = freeze::read(&mut |entry| searches.claim(entry));
    let found = searches.trees.iter_mut().map(|search| match &all {
        Ok(all) => !search.complete(all).is_empty(),
        Err(error) => signal_unseen(search.members, search.signal, error),
    });
    let found = found.collect();
    drop(freeze);
    found
}

/// Stops the members of all these trees until no new ones appear, then kills them: what is stopped cannot fork faster than it is
/// counted. Their groups are signalled as well, which reaches those at one stroke who were started since they were looked for.
/// Says for each tree whether it had members.
///
/// A tree that grows all the same forks as fast as it can: where the agent may, it stops all processes for as long as it takes to count
/// them. Elsewhere such a tree is killed as far as it is known, so that it holds up no other tree; who asked looks again.
pub(in crate::process) fn stop_and_kill(trees: &[&Members]) -> Vec<bool> {
    const ROUNDS: usize = 20;
    let both = |pid: Pid, signal| [Whom::Group(pid), Whom::Process(pid)].into_iter().for_each(|whom| send(whom, signal));
    let kill = |search: &Search<'_>| search.known.iter().for_each(|pid| both(*pid, Signal::KILL));
    for tree in trees {
        if let Members::Process { pid, .. } = tree {
            both(*pid, Signal::STOP);
        }
    }
    let stops: Vec<_> = trees.iter().map(|tree| (*tree, Some(Signal::STOP))).collect();
    let mut searches = Searches::new(&stops);
    let mut growing: Vec<usize> = (0..trees.len()).collect();
    let mut counted = vec![0; trees.len()];
    let (mut all, mut freeze) = freeze::read(&mut |entry| searches.claim(entry));
    for round in 0..ROUNDS {
        let known = match &all {
            Ok(known) => known,
            Err(error) => {
                // What is stopped must not stay so.
                searches.trees.iter().for_each(kill);
                return trees.iter().map(|tree| signal_unseen(tree, Some(Signal::KILL), error)).collect();
            }
        };
        growing.retain(|index| {
            let search = &mut searches.trees[*index];
            search.complete(known).iter().for_each(|pid| send(Whom::Group(*pid), Signal::STOP));
            let before = std::mem::replace(&mut counted[*index], search.known.len());
            let grows = search.known.len() > before;
            if !grows {
                kill(search);
            }
            grows
        });
        if let Some(freeze) = &mut freeze {
            // Nobody can have been missed.
            freeze.leave_out(&searches.trees.iter().flat_map(|search| search.known.iter().copied()).collect());
            break;
        }
        if growing.is_empty() {
            break;
        }
        // In the first round every member is new.
        let frozen = if round > 0 { Freeze::apply(known) } else { None };
        (all, freeze) =
            frozen.map_or_else(|| freeze::read(&mut |entry| searches.claim(entry)), |(freeze, all)| (all, Some(freeze)));
    }
    growing.iter().for_each(|index| kill(&searches.trees[*index]));
    searches.trees.iter().map(|search| !search.known.is_empty()).collect()
}

/// Without a look at `/proc`: signals the group, and cannot tell whether anybody is left once it is killed. Where descriptors or
/// memory are short somebody is: the next look tells more.
fn signal_unseen(members: &Members, signal: Option<Signal>, error: &io::Error) -> bool {
    if let (Members::Process { pid, .. } | Members::Session { shell: pid, .. }, Some(signal)) = (members, signal) {
        send(Whom::Group(*pid), signal);
    }
    signal != Some(Signal::KILL) || proc::is_shortage(error)
}

/// The searches for several trees in one look.
struct Searches<'a> {
    agent: i32,
    trees: Vec<Search<'a>>,
}

impl<'a> Searches<'a> {
    fn new(trees: &[(&'a Members, Option<Signal>)]) -> Self {
        let agent = getpid().as_raw_nonzero().get();
        let search =
            |&(members, signal): &(&'a Members, Option<Signal>)| Search { members, signal, agent, known: HashSet::new() };
        Self { agent, trees: trees.iter().map(search).collect() }
    }

    /// Whether it is known whose process this is.
    fn claim(&mut self, entry: &Entry) -> bool {
        let mut is_known = entry.pid == self.agent;
        // Each tree is asked: a process may belong to several.
        for search in &mut self.trees {
            is_known |= search.claim(entry);
        }
        is_known
    }
}

/// The search for the members of one tree.
struct Search<'a> {
    members: &'a Members,
    /// What members are sent.
    signal: Option<Signal>,
    agent: i32,
    /// The members that are known, and have been sent it.
    known: HashSet<Pid>,
}

impl Search<'_> {
    /// Whether a process is a member by itself, or by its parent, group or session. Signals it, unless that has been done.
    fn claim(&mut self, entry: &Entry) -> bool {
        if entry.pid == self.agent {
            return false;
        }
        let ties = [entry.pid, entry.parent, entry.group, entry.session];
        let follows = ties.into_iter().filter_map(Pid::from_raw).any(|pid| self.known.contains(&pid));
        let is_member = follows || self.members.is_root(entry, self.agent);
        if is_member {
            Pid::from_raw(entry.pid).into_iter().for_each(|pid| self.signal(pid));
        }
        is_member
    }

    /// Signals the members that were not known when they were read, and gives all of these processes that are members.
    fn complete(&mut self, all: &[Entry]) -> Vec<Pid> {
        let members = self.members.among(all, self.agent);
        members.iter().for_each(|pid| self.signal(*pid));
        members
    }

    fn signal(&mut self, pid: Pid) {
        if !self.known.insert(pid) {
            return;
        }
        if let Some(signal) = self.signal {
            send(Whom::Process(pid), signal);
            if signal == Signal::TERM {
                // A stopped process acts on no other signal.
                send(Whom::Process(pid), Signal::CONT);
            }
        }
    }
}
