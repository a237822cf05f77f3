//! The list of operations the agent carries out. Everything that must know them all is made from it.

use crate::{Operation, Streaming};

/// Calls `$with!` with every operation of the agent: `calls` answer once, `streams` talk while they run.
///
/// A consumer passes a macro of its own:
///
/// ```
/// macro_rules! names {
///     (calls: [$($call:ty),* $(,)?], streams: [$($stream:ty),* $(,)?] $(,)?) => {
///         vec![$(<$call as cabana_protocol::Operation>::NAME,)* $(<$stream as cabana_protocol::Operation>::NAME,)*]
///     };
/// }
/// assert!(cabana_protocol::operations!(names).contains(&"file.stat"));
/// ```
#[macro_export]
macro_rules! operations {
    ($with:ident) => {
        $with! {
            calls: [
                $crate::file::Read,
                $crate::file::Write,
                $crate::file::Stat,
                $crate::file::ReadMany,
                $crate::file::WriteMany,
                $crate::file::StatMany,
                $crate::file::List,
                $crate::file::Mkdir,
                $crate::file::Remove,
                $crate::file::Move,
                $crate::file::Copy,
                $crate::file::Symlink,
                $crate::file::Chmod,
                $crate::file::GetChanges,
                $crate::file::Find,
                $crate::file::Search,
                $crate::file::Edit,
                $crate::file::Patch,
                $crate::git::Status,
                $crate::git::Diff,
                $crate::git::Log,
                $crate::git::Branch,
                $crate::git::Checkout,
                $crate::git::Add,
                $crate::git::Commit,
                $crate::process::List,
                $crate::process::Get,
                $crate::process::Input,
                $crate::process::Resize,
                $crate::process::SendSignal,
                $crate::process::Wait,
                $crate::process::Logs,
                $crate::process::End,
                $crate::process::Remove,
                $crate::session::Create,
                $crate::session::List,
                $crate::session::Get,
                $crate::session::Update,
                $crate::session::Delete,
                $crate::code::Create,
                $crate::code::List,
                $crate::code::Interrupt,
                $crate::code::Restart,
                $crate::code::Delete,
                $crate::code::Complete,
                $crate::code::Inspect,
                $crate::code::Export,
                $crate::port::List,
                $crate::system::Stats,
                $crate::system::Info,
            ],
            streams: [
                $crate::exec::Exec,
                $crate::process::Attach,
                $crate::code::Run,
                $crate::file::Watch,
                $crate::git::Clone,
                $crate::git::Pull,
                $crate::git::Push,
                $crate::port::Connect,
            ],
        }
    };
}

/// What can be said of an operation without its types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Wire name, see [`Operation::NAME`].
    pub name: &'static str,
    /// See [`Operation::IDEMPOTENT`].
    pub idempotent: bool,
    /// See [`Operation::READ_ONLY`].
    pub read_only: bool,
    /// See [`Operation::ASLEEP`].
    pub asleep: Option<&'static str>,
    /// True for [`Streaming`] operations.
    pub streaming: bool,
}

impl Descriptor {
    const fn of_call<O: Operation>() -> Self {
        Self { name: O::NAME, idempotent: O::IDEMPOTENT, read_only: O::READ_ONLY, asleep: O::ASLEEP, streaming: false }
    }

    const fn of_stream<O: Streaming>() -> Self {
        Self { streaming: true, ..Self::of_call::<O>() }
    }
}

macro_rules! descriptors {
    (calls: [$($call:ty),* $(,)?], streams: [$($stream:ty),* $(,)?] $(,)?) => {
        &[$(Descriptor::of_call::<$call>(),)* $(Descriptor::of_stream::<$stream>(),)*]
    };
}

/// Every operation of the agent.
pub const DESCRIPTORS: &[Descriptor] = operations!(descriptors);

/// The descriptor of a wire name.
pub fn find(name: &str) -> Option<&'static Descriptor> {
    DESCRIPTORS.iter().find(|descriptor| descriptor.name == name)
}
