//! Creates a child without copying the agent's page tables.
//!
//! fork(2) takes the longer the more memory the agent holds. posix_spawn(3) does not, but cannot change the user. So this does what
//! posix_spawn does, clone(2) with CLONE_VM and CLONE_VFORK, and has the child make a few more system calls before its exec.
//!
//! The child shares the agent's memory until its exec, while the thread that made it waits. So it makes system calls and nothing
//! else: it allocates nothing, takes no lock, and never unwinds. It changes its user last: before that nobody in the sandbox may
//! stop it, and with it the waiting thread.

use std::{
    convert::Infallible,
    ffi::{CStr, CString, OsStr},
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicI32, Ordering},
    },
};

use rustix::{
    fs::Mode,
    io::{Errno, FdFlags, fcntl_setfd},
    process::Pid,
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
};

use super::{Identity, attributes};

/// The child's stack. Its calls are few and shallow, in debug builds too.
const STACK_BYTES: usize = 64 << 10;

/// Signals have the numbers 1 to 64 on every architecture of the agent.
const SIGNALS: std::ops::RangeInclusive<libc::c_int> = 1..=64;

/// Bytes of the kernel's set of signals.
const SIGNAL_SET_BYTES: usize = 8;

/// The signals, one bit each, with which something else happens than by default: the agent's handlers, and what it ignores. `None` until
/// the agent has made all of its handlers.
static CHANGED_SIGNALS: OnceLock<u64> = OnceLock::new();

/// What a child leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leads {
    /// A process group in the agent's session.
    Group,
    /// A session without a terminal.
    Session,
    /// A session whose controlling terminal is its stdin.
    Terminal,
}

/// A descriptor that a child has besides its streams.
#[derive(Debug)]
pub(crate) struct Inherited {
    pub(crate) descriptor: OwnedFd,
    /// Its number in the child.
    pub(crate) number: i32,
}

/// What becomes of a child, prepared so that the child allocates nothing.
pub(super) struct Plan<'a> {
    program: CString,
    argv: Pointers,
    env: Pointers,
    cwd: CString,
    leads: Leads,
    /// Stdin, stdout and stderr; `None` for the agent's own.
    streams: [Option<BorrowedFd<'a>>; 3],
    inherited: Option<&'a Inherited>,
    user: Option<&'a Identity>,
}

/// Strings, and the array that execve(2) takes.
struct Pointers {
    _strings: Vec<CString>,
    array: Vec<*const libc::c_char>,
}

impl Pointers {
    fn new(strings: impl Iterator<Item = io::Result<CString>>) -> io::Result<Self> {
        let strings = strings.collect::<io::Result<Vec<_>>>()?;
        let array = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Ok(Self { _strings: strings, array })
    }
}

impl<'a> Plan<'a> {
    /// A child that becomes this program.
    ///
    /// Fails with [`io::ErrorKind::InvalidInput`] where a string holds a NUL.
    pub(super) fn new<'s>(
        program: &Path,
        argv: impl Iterator<Item = &'s OsStr>,
        env: impl Iterator<Item = (&'s OsStr, &'s OsStr)>,
        cwd: &Path,
    ) -> io::Result<Self> {
        let pair = |(name, value): (&OsStr, &OsStr)| c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat());
        Ok(Self {
            program: c_string(program.as_os_str().as_bytes())?,
            argv: Pointers::new(argv.map(|word| c_string(word.as_bytes())))?,
            env: Pointers::new(env.map(pair))?,
            cwd: c_string(cwd.as_os_str().as_bytes())?,
            leads: Leads::Group,
            streams: [None; 3],
            inherited: None,
            user: None,
        })
    }

    pub(super) fn leads(mut self, leads: Leads) -> Self {
        self.leads = leads;
        self
    }

    pub(super) fn streams(mut self, streams: [Option<BorrowedFd<'a>>; 3]) -> Self {
        self.streams = streams;
        self
    }

    pub(super) fn inherited(mut self, inherited: Option<&'a Inherited>) -> Self {
        self.inherited = inherited;
        self
    }

    pub(super) fn user(mut self, user: Option<&'a Identity>) -> Self {
        self.user = user;
        self
    }

    /// Creates the child, and waits until it has become the program or could not.
    #[allow(unsafe_code)]
    pub(super) fn spawn(&self) -> io::Result<Pid> {
        let shared = Shared { plan: self, error: AtomicI32::new(0) };
        // Not on this thread's own stack, of which the compiler would touch every page, in each thread that starts commands.
        let mut stack = Box::<Stack>::new_uninit();
        // No handler of the agent's may run in the child, which has the agent's memory.
        let mask = SignalMask::block_all();
        // SAFETY: the stack grows down from its end, and both it and `shared` outlive the child's use of them: with CLONE_VFORK this
        // call returns when the child has left this memory, by its exec or its end.
        let pid = unsafe {
            let top = stack.as_mut_ptr().add(1).cast();
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            libc::clone(become_program, top, flags, (&raw const shared).cast_mut().cast())
        };
        let created = if pid == -1 { Err(io::Error::last_os_error()) } else { Ok(Pid::from_raw(pid).ok_or(Errno::SRCH)?) };
        drop(mask);
        let pid = created?;
        match shared.error.load(Ordering::Relaxed) {
            0 => Ok(pid),
            error => {
                let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
                Err(io::Error::from_raw_os_error(error))
            }
        }
    }

    /// Prepares this process and becomes the program. System calls only.
    fn run(&self) -> Result<Infallible, Errno> {
        match self.leads {
            Leads::Group => rustix::process::setpgid(None, None)?,
            Leads::Session | Leads::Terminal => drop(rustix::process::setsid()?),
        }
        // Before its descriptors change: it may be named by one of them.
        rustix::process::chdir(&*self.cwd)?;
        let [stdin, stdout, stderr] = self.streams;
        stdin.map_or(Ok(()), dup2_stdin)?;
        stdout.map_or(Ok(()), dup2_stdout)?;
        stderr.map_or(Ok(()), dup2_stderr)?;
        if self.leads == Leads::Terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        self.inherited.map_or(Ok(()), inherit)?;
        attributes::assume();
        rustix::process::umask(Mode::from_raw_mode(0o022));
        let changed = CHANGED_SIGNALS.get().copied().unwrap_or(u64::MAX);
        SIGNALS.filter(|signal| changed & bit(*signal) != 0).for_each(reset_signal);
        set_signal_mask(&0_u64.to_ne_bytes());
        self.user.map_or(Ok(()), Identity::assume)?;
        Err(execute(&self.program, &self.argv, &self.env))
    }
}

#[repr(C, align(16))]
struct Stack([u8; STACK_BYTES]);

/// What child and agent both see.
struct Shared<'a> {
    plan: &'a Plan<'a>,
    /// Why the child could not become the program.
    error: AtomicI32,
}

/// What the child does first and last.
#[allow(unsafe_code)]
extern "C" fn become_program(shared: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `Plan::spawn` passes a `Shared`, which it keeps until this process has left its memory.
    let shared = unsafe { &*shared.cast::<Shared<'_>>() };
    let Err(error) = shared.plan.run();
    shared.error.store(error.raw_os_error(), Ordering::Relaxed);
    // SAFETY: _exit(2) runs no destructors and no handlers, which would be the agent's.
    unsafe { libc::_exit(127) }
}

/// execve(2), which returns only when it fails.
#[allow(unsafe_code)]
fn execute(program: &CStr, argv: &Pointers, env: &Pointers) -> Errno {
    // SAFETY: the arrays end with a null pointer, and their strings live as long as they do.
    unsafe { libc::execve(program.as_ptr(), argv.array.as_ptr(), env.array.as_ptr()) };
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::NOEXEC)
}

/// Gives a descriptor its number, and lets it stay open.
#[allow(unsafe_code)]
fn inherit(inherited: &Inherited) -> Result<(), Errno> {
    if inherited.descriptor.as_raw_fd() == inherited.number {
        return fcntl_setfd(&inherited.descriptor, FdFlags::empty());
    }
    // SAFETY: dup2(2) takes two integers. What has this number in the child is a copy that its exec would close.
    match unsafe { libc::dup2(inherited.descriptor.as_raw_fd(), inherited.number) } {
        -1 => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::BADF)),
        _ => Ok(()),
    }
}

fn bit(signal: libc::c_int) -> u64 {
    1 << (signal - 1)
}

/// Notes which signals children must be given back. From now on the agent makes no further handlers.
pub fn note_signals() {
    CHANGED_SIGNALS.get_or_init(|| SIGNALS.filter(|signal| is_changed(*signal)).fold(0, |changed, signal| changed | bit(signal)));
}

/// The words that the kernel's struct sigaction takes at most. The first is the handler, SIG_DFL is 0.
const SIGACTION_WORDS: usize = 8;

/// Whether something else happens with a signal than by default.
#[allow(unsafe_code)]
fn is_changed(signal: libc::c_int) -> bool {
    let mut action = [0_usize; SIGACTION_WORDS];
    // SAFETY: the kernel writes a struct sigaction to the array, and reads nothing.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, ptr::null::<libc::c_void>(), action.as_mut_ptr(), SIGNAL_SET_BYTES);
    }
    action[0] != libc::SIG_DFL
}

/// Gives a signal its default disposition. An ignored one would stay ignored after the exec. By the system call: the C library keeps
/// some signals to itself.
#[allow(unsafe_code)]
fn reset_signal(signal: libc::c_int) {
    // All zeros are SIG_DFL without flags.
    let default = [0_usize; SIGACTION_WORDS];
    // SAFETY: the kernel reads a struct sigaction from the array, and writes nothing. SIGKILL and SIGSTOP are refused.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null_mut::<libc::c_void>(), SIGNAL_SET_BYTES);
    }
}

#[allow(unsafe_code)]
fn set_signal_mask(mask: &[u8; SIGNAL_SET_BYTES]) -> [u8; SIGNAL_SET_BYTES] {
    let mut before = [0; SIGNAL_SET_BYTES];
    // SAFETY: both pointers are valid for a set of signals of this size.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, mask.as_ptr(), before.as_mut_ptr(), SIGNAL_SET_BYTES);
    }
    before
}

/// Blocks SIGCHLD, for which one thread waits, in this thread and those that it will make. They get every other signal, whatever the
/// agent's parent has blocked.
pub fn block_child_signal() {
    set_signal_mask(&bit(libc::SIGCHLD).to_ne_bytes());
}

/// While this is there, this thread handles no signals.
struct SignalMask {
    before: [u8; SIGNAL_SET_BYTES],
}

impl SignalMask {
    fn block_all() -> Self {
        Self { before: set_signal_mask(&[0xff; SIGNAL_SET_BYTES]) }
    }
}

impl Drop for SignalMask {
    fn drop(&mut self) {
        set_signal_mask(&self.before);
    }
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::ErrorKind::InvalidInput.into())
}
