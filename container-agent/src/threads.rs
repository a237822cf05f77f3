//! Threads for work that blocks: files, `/proc`, archives.
//!
//! A command may use up every process that the sandbox may have, and then no thread can be made either. So a number of threads is
//! reserved at the start and never given up; others are made on demand, as long as the kernel allows it. tokio's own pool would not
//! do: it gives idle threads up, and panics where none is left and none can be made.
//!
//! Two rules keep every wait finite. Long work, which may wait for a client, leaves some threads to short work. And work that has
//! not begun in time is withdrawn with `too_many_requests`.

use std::{
    collections::VecDeque,
    fmt, io,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use cabana_protocol::{Code, Error};
use tokio::{runtime::Handle, sync::oneshot, time::Instant};

/// Threads that exist from the start. Each takes about 20 KiB of memory, and one of the processes that the sandbox may have.
const RESERVED: usize = 16;

/// Threads at most: more would only wait for the same disk, and take processes away from the sandbox's commands.
const MAX_THREADS: usize = 64;

/// Threads that long work leaves to short work.
const FOR_SHORT_WORK: usize = 8;

/// Address space of a thread's stack; only what is used of it takes memory. No work recurses without a bound.
const STACK_BYTES: usize = 1 << 20;

/// Work that may wait for a thread.
const MAX_QUEUED: usize = 1_024;

/// How long work may wait for a thread before it is withdrawn.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// How long a thread that is not reserved waits for work before it ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// What work may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// The disk, and locks that are held as long.
    Short,
    /// A client, or the processor for as long as a whole tree takes.
    Long,
}

/// Queued work.
struct Job {
    work: Box<dyn FnOnce() + Send>,
    /// Set once nobody wants it any more; it then does nothing.
    withdrawn: Arc<AtomicBool>,
}

static POOL: Pool = Pool::new(MAX_THREADS);

/// Begins to make the reserved threads, on a thread of its own, because that takes half the time of a start; says when they are there. To
/// be called after the process has taken its priority, which threads inherit.
///
/// Fails where the kernel does not give them.
pub fn reserve() -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let (sender, reserved) = oneshot::channel();
    let reserve = move || {
        // Nobody may wait for it any more.
        let _ = sender.send(POOL.reserve(RESERVED));
    };
    thread::Builder::new().name("reserve".to_owned()).stack_size(STACK_BYTES).spawn(reserve)?;
    Ok(reserved)
}

/// Does work on a thread that may block. Dropping this future withdraws long work that has not begun; all other work is done all the same.
///
/// Fails with `too_many_requests` when no thread is free in time; then nothing has been done.
pub(crate) async fn run<T: Send + 'static>(length: Length, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    POOL.run(length, MAX_WAIT, work).await
}

/// Does long work that is worth nothing after this moment, as [`run`] does: it waits for a thread until then at most.
pub(crate) async fn run_before<T: Send + 'static>(
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    POOL.run_before(deadline, work).await
}

/// Does short work that is part of something that has begun, and is not to fail because others are quicker: waits for a thread as
/// long as it takes. `None` when the work panicked.
pub(crate) async fn run_next<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    POOL.run_next(work).await
}

/// Hands short work to an idle thread, which begins at once; gives it back where there is none. Makes no thread: this one may act
/// for the sandbox's user just now, and threads inherit that.
pub(crate) fn run_idle<W: FnOnce() + Send + 'static>(work: W) -> Result<(), W> {
    POOL.run_idle(work)
}

struct Pool {
    state: Mutex<State>,
    /// Notified for each job, and when long work ends.
    work: Condvar,
    max_threads: usize,
}

struct State {
    short: VecDeque<Job>,
    long: VecDeque<Job>,
    threads: usize,
    /// Threads that wait for work.
    idle: usize,
    /// Threads that do long work.
    long_running: usize,
}

impl Pool {
    const fn new(max_threads: usize) -> Self {
        let state = State { short: VecDeque::new(), long: VecDeque::new(), threads: 0, idle: 0, long_running: 0 };
        Self { state: Mutex::new(state), work: Condvar::new(), max_threads }
    }

    fn reserve(&'static self, count: usize) -> io::Result<()> {
        (0..count).try_for_each(|_| self.spawn(&mut self.lock(), true))
    }

    async fn run<T: Send + 'static>(
        &'static self,
        length: Length,
        max_wait: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (job, withdraw, mut result) = job(work);
        if !self.submit(length, job, MAX_QUEUED) {
            return Err(busy());
        }
        // Long work holds permits. Without its caller it would keep them from those who still wait.
        let _withdrawal = (length == Length::Long).then(|| OnDrop(&withdraw));
        tokio::select! {
            biased;
            result = &mut result => return result.map_err(panicked),
            () = tokio::time::sleep(max_wait) => {}
        }
        if withdraw() { Err(busy()) } else { result.await.map_err(panicked) }
    }

    async fn run_before<T: Send + 'static>(
        &'static self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.run(Length::Long, deadline.saturating_duration_since(Instant::now()).min(MAX_WAIT), work).await
    }

    async fn run_next<T: Send + 'static>(&'static self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (job, _, result) = job(work);
        // Those who wait are few: at most one for each connection and each process.
        // Without any thread the job is dropped, and with it what it would send.
        self.submit(Length::Short, job, usize::MAX);
        result.await.ok()
    }

    fn run_idle<W: FnOnce() + Send + 'static>(&'static self, work: W) -> Result<(), W> {
        let mut state = self.lock();
        // Every idle thread takes short work first, so each queued job has one of them for itself.
        if state.idle <= state.short.len() {
            return Err(work);
        }
        state.short.push_back(Job { work: Box::new(work), withdrawn: Arc::default() });
        self.work.notify_one();
        Ok(())
    }

    /// Queues a job, and makes a thread for it if need be. False when the queue is full, or there is no thread at all.
    fn submit(&'static self, length: Length, job: Job, max_queued: usize) -> bool {
        let mut state = self.lock();
        // Short work goes first, so long work takes no thread from it.
        let before = match length {
            Length::Short => state.short.len(),
            Length::Long => state.short.len() + state.long.len(),
        };
        let reserved_for_short =
            length == Length::Long && state.long_running + state.long.len() + FOR_SHORT_WORK >= state.threads;
        if (state.idle <= before || reserved_for_short) && state.threads < self.max_threads {
            // Where no thread can be made, those that exist do it all, one after another.
            let _ = self.spawn(&mut state, false);
        }
        let has_threads = state.threads > 0;
        let queue = state.queue(length);
        if queue.len() >= max_queued {
            queue.retain(|job| !job.withdrawn.load(Ordering::Relaxed));
        }
        if !has_threads || queue.len() >= max_queued {
            return false;
        }
        queue.push_back(job);
        // Not with the lock, which the thread would wait for.
        drop(state);
        self.work.notify_one();
        true
    }

    fn spawn(&'static self, state: &mut State, reserved: bool) -> io::Result<()> {
        let builder = thread::Builder::new().name("blocking".to_owned()).stack_size(STACK_BYTES);
        builder.spawn(move || self.work(reserved))?;
        state.threads += 1;
        Ok(())
    }

    fn work(&self, reserved: bool) {
        let mut state = self.lock();
        loop {
            if let Some((length, job)) = state.take() {
                drop(state);
                // A panic ends the work; the thread, whose number is fixed, must go on.
                let _ = panic::catch_unwind(AssertUnwindSafe(job.work));
                state = self.lock();
                state.long_running -= usize::from(length == Length::Long);
                continue;
            }
            state.idle += 1;
            let mut expired = false;
            if reserved {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                let (woken, timeout) = self.work.wait_timeout(state, IDLE_TIMEOUT).unwrap_or_else(PoisonError::into_inner);
                (state, expired) = (woken, timeout.timed_out());
            }
            state.idle -= 1;
            if expired && state.short.is_empty() && state.long.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn queue(&mut self, length: Length) -> &mut VecDeque<Job> {
        match length {
            Length::Short => &mut self.short,
            Length::Long => &mut self.long,
        }
    }

    /// The next job, short ones first.
    fn take(&mut self) -> Option<(Length, Job)> {
        if let Some(job) = self.short.pop_front() {
            return Some((Length::Short, job));
        }
        // One may always run: a pool of which nothing was reserved begins with one thread.
        if self.long_running > 0 && self.long_running + FOR_SHORT_WORK >= self.threads {
            return None;
        }
        let job = self.long.pop_front()?;
        self.long_running += 1;
        Some((Length::Long, job))
    }
}

/// A job that does this work in the caller's runtime, a function that withdraws it unless it has begun, and its result.
fn job<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> (Job, impl Fn() -> bool, oneshot::Receiver<T>) {
    let (sender, result) = oneshot::channel();
    let runtime = Handle::current();
    let work = move || {
        let _runtime = runtime.enter();
        // Nobody may wait for it any more.
        let _ = sender.send(work());
    };
    let slot = Arc::new(Mutex::new(Some(work)));
    let take = |slot: &Mutex<Option<_>>| slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (withdrawn, kept) = (Arc::<AtomicBool>::default(), Arc::clone(&slot));
    let job = Job {
        work: Box::new(move || {
            if let Some(work) = take(&slot) {
                work();
            }
        }),
        withdrawn: Arc::clone(&withdrawn),
    };
    let withdraw = move || {
        let was_waiting = take(&kept).is_some();
        withdrawn.store(was_waiting, Ordering::Relaxed);
        was_waiting
    };
    (job, withdraw, result)
}

/// Calls the function when it is dropped.
struct OnDrop<'a, F: Fn() -> bool>(&'a F);

impl<F: Fn() -> bool> Drop for OnDrop<'_, F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn busy() -> Error {
    Error::new(Code::TooManyRequests, "no thread is free for this operation: the sandbox is busy, or at its limit of processes")
}

fn panicked(_: oneshot::error::RecvError) -> Error {
    Error::internal("the operation panicked")
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pool").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A pool for which the kernel gives so many threads and no more.
    fn pool(threads: usize) -> &'static Pool {
        let pool = Box::leak(Box::new(Pool::new(threads)));
        pool.reserve(threads).unwrap();
        pool
    }

    /// Work that has begun once this is received, and ends when the sender is dropped.
    fn blocked(begun: &mpsc::Sender<()>) -> (impl FnOnce() + Send + 'static, mpsc::Sender<()>) {
        let begun = begun.clone();
        let (hold, held) = mpsc::channel::<()>();
        let work = move || {
            begun.send(()).unwrap();
            let _ = held.recv();
        };
        (work, hold)
    }

    #[tokio::test]
    async fn long_work_leaves_threads_to_short_work() {
        const LONG: usize = 3;
        let pool = pool(FOR_SHORT_WORK + LONG);
        let (begun, begins) = mpsc::channel();
        let (works, holds): (Vec<_>, Vec<_>) = (0..2 * LONG).map(|_| blocked(&begun)).unzip();
        let running: Vec<_> = works.into_iter().map(|work| tokio::spawn(pool.run(Length::Long, MAX_WAIT, work))).collect();
        for _ in 0..LONG {
            wait_for(&begins).await;
        }
        assert_eq!(pool.run(Length::Short, MAX_WAIT, || 7).await, Ok(7));
        assert!(begins.try_recv().is_err(), "more long work has begun");
        drop(holds);
        for run in running {
            assert_eq!(run.await.unwrap(), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_no_thread_takes_in_time_is_withdrawn() {
        let pool = pool(1);
        let (begun, begins) = mpsc::channel();
        let (work, hold) = blocked(&begun);
        let first = tokio::spawn(pool.run_next(work));
        wait_for(&begins).await;
        let (withdrawn, _kept) = blocked(&begun);
        assert_eq!(pool.run(Length::Short, MAX_WAIT, withdrawn).await.map_err(|error| error.code), Err(Code::TooManyRequests));
        drop(hold);
        assert_eq!(first.await.unwrap(), Some(()));
        assert_eq!(pool.run_next(|| 7).await, Some(7));
        assert!(begins.try_recv().is_err(), "it was done all the same");
    }

    #[tokio::test(start_paused = true)]
    async fn long_work_waits_for_a_thread_no_longer_than_until_its_deadline() {
        let pool = pool(FOR_SHORT_WORK + 1);
        let (begun, begins) = mpsc::channel();
        let (work, hold) = blocked(&begun);
        let first = tokio::spawn(pool.run(Length::Long, MAX_WAIT, work));
        wait_for(&begins).await;
        let asked = Instant::now();
        for (allowed, waited) in [(Duration::from_secs(1), Duration::from_secs(1)), (MAX_WAIT * 10, MAX_WAIT)] {
            let started = Instant::now();
            let refused = pool.run_before(started + allowed, || ()).await;
            assert_eq!(refused.map_err(|error| error.code), Err(Code::TooManyRequests));
            assert!(started.elapsed() >= waited && started.elapsed() < 2 * waited, "{:?}", started.elapsed());
        }
        assert!(pool.run_before(asked, || ()).await.is_err(), "its time is up");
        drop(hold);
        assert_eq!(first.await.unwrap(), Ok(()));
        // The thread may still be on its way back, for which a paused clock does not wait.
        while pool.run_before(Instant::now() + MAX_WAIT, || ()).await.is_err() {
            std::thread::yield_now();
        }
    }

    #[tokio::test]
    async fn work_beyond_the_queue_is_refused() {
        let pool = pool(1);
        let (begun, begins) = mpsc::channel();
        let (work, hold) = blocked(&begun);
        let first = tokio::spawn(pool.run_next(work));
        wait_for(&begins).await;
        for _ in 0..2 {
            assert!(pool.submit(Length::Short, job(|| {}).0, 2));
        }
        assert!(!pool.submit(Length::Short, job(|| {}).0, 2));
        drop(hold);
        assert_eq!(first.await.unwrap(), Some(()));
    }

    #[tokio::test]
    async fn withdrawn_long_work_keeps_no_place_in_the_queue() {
        let pool = pool(FOR_SHORT_WORK + 1);
        let (begun, begins) = mpsc::channel();
        let (work, hold) = blocked(&begun);
        let first = tokio::spawn(pool.run(Length::Long, MAX_WAIT, work));
        wait_for(&begins).await;
        for _ in 0..3 {
            let (long, withdraw, _result) = job(|| {});
            assert!(pool.submit(Length::Long, long, 2));
            assert!(withdraw());
        }
        assert_eq!(pool.run(Length::Short, MAX_WAIT, || 7).await, Ok(7));
        drop(hold);
        assert_eq!(first.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn long_work_whose_caller_has_gone_is_not_begun() {
        let pool = pool(FOR_SHORT_WORK + 1);
        let (begun, begins) = mpsc::channel();
        let (work, hold) = blocked(&begun);
        let first = tokio::spawn(pool.run(Length::Long, MAX_WAIT, work));
        wait_for(&begins).await;
        let (abandoned, _kept) = blocked(&begun);
        let second = tokio::spawn(pool.run(Length::Long, MAX_WAIT, abandoned));
        while pool.lock().long.is_empty() {
            tokio::task::yield_now().await;
        }
        second.abort();
        assert!(second.await.unwrap_err().is_cancelled());
        drop(hold);
        assert_eq!(first.await.unwrap(), Ok(()));
        assert_eq!(pool.run(Length::Long, MAX_WAIT, || 7).await, Ok(7));
        assert!(begins.try_recv().is_err(), "it was begun all the same");
    }

    #[tokio::test]
    async fn work_without_any_thread_is_refused() {
        let pool = pool(0);
        assert_eq!(pool.run(Length::Short, MAX_WAIT, || ()).await.map_err(|error| error.code), Err(Code::TooManyRequests));
        assert!(pool.run_idle(|| ()).is_err());
        assert_eq!(pool.run_next(|| ()).await, None);
    }

    #[tokio::test]
    async fn a_panic_costs_no_thread() {
        let pool = pool(1);
        assert_eq!(
            pool.run(Length::Long, MAX_WAIT, || -> () { panic!("on purpose") }).await.map_err(|error| error.code),
            Err(Code::Internal)
        );
        assert_eq!(pool.run(Length::Long, MAX_WAIT, || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn only_an_idle_thread_takes_work_at_once() {
        let pool = pool(1);
        let (begun, begins) = mpsc::channel();
        let (mut work, hold) = blocked(&begun);
        while let Err(refused) = pool.run_idle(work) {
            // The thread has not come to wait yet.
            work = refused;
            tokio::task::yield_now().await;
        }
        wait_for(&begins).await;
        assert!(pool.run_idle(|| ()).is_err());
        drop(hold);
    }

    async fn wait_for(begins: &mpsc::Receiver<()>) {
        while begins.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
    }
}
