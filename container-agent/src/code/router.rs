//! Whose output is whose: from the messages that a kernel publishes to the cells that they belong to.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use cabana_protocol::code::RunEvent;

use super::{
    history::History,
    output::{Sink, TEXT_BYTES},
};

/// Cells of which late output is still told apart.
const KNOWN: usize = 256;

/// A cell, for those who have output for it.
#[derive(Debug)]
pub(super) struct Cell {
    number: u64,
    /// Until its caller has had its answer.
    sink: Mutex<Option<Arc<Sink>>>,
    failed: AtomicBool,
    execution_count: AtomicU32,
    /// Counts its output.
    outputs: AtomicU64,
}

/// The cells of one kernel.
#[derive(Debug, Default)]
pub(super) struct Router {
    /// What the cells have shown, once there is a context for them.
    history: OnceLock<Arc<Mutex<History>>>,
    /// Locked for a look, never across an await.
    cells: Mutex<Cells>,
}

#[derive(Debug, Default)]
struct Cells {
    /// By the numbers of their requests.
    known: VecDeque<(String, Arc<Cell>)>,
    current: Option<Arc<Cell>>,
    /// The number of the request that flushes the current cell's output. It is the sentinel as well.
    flush: Option<String>,
}

impl Cells {
    /// Assigns the output of the request of this number to a cell.
    fn assign(&mut self, request: &str, cell: &Arc<Cell>) {
        self.known.push_back((request.to_owned(), Arc::clone(cell)));
        if self.known.len() > KNOWN {
            self.known.pop_front();
        }
    }
}

impl Router {
    /// Its cells belong to this history.
    pub(super) fn attach(&self, history: Arc<Mutex<History>>) {
        // A kernel belongs to one context.
        let _ = self.history.set(history);
    }

    /// The request of this number is a cell, whose output goes there.
    pub(super) fn begin(&self, request: &str, code: &str, sink: Sink) -> Arc<Cell> {
        let number = self.with_history(|history| history.begin(code)).unwrap_or_default();
        let cell = Arc::new(Cell {
            number,
            sink: Mutex::new(Some(Arc::new(sink))),
            failed: AtomicBool::new(false),
            execution_count: AtomicU32::new(0),
            outputs: AtomicU64::new(0),
        });
        self.with(|cells| {
            cells.assign(request, &cell);
            cells.current = Some(Arc::clone(&cell));
        });
        cell
    }

    /// Assigns the output of this request to the current cell: some kernels name the last request as the parent of trailing output.
    pub(super) fn flush(&self, request: &str) {
        self.with(|cells| {
            if let Some(cell) = cells.current.clone() {
                cells.assign(request, &cell);
                cells.flush = Some(request.to_owned());
            }
        });
    }

    /// Whether this request flushes output: its value is not the cell's.
    pub(super) fn is_flush(&self, request: Option<&str>) -> bool {
        self.with(|cells| cells.flush.is_some() && cells.flush.as_deref() == request)
    }

    /// Whether this text is the sentinel behind the current cell's output.
    pub(super) fn is_sentinel(&self, text: &str) -> bool {
        self.is_flush(Some(text.trim_end()))
    }

    /// The current cell's caller gets its answer: what comes later is only kept for the notebook.
    pub(super) fn end(&self) {
        let current = self.with(|cells| {
            cells.flush = None;
            cells.current.take()
        });
        if let Some(cell) = current {
            cell.end();
        }
    }

    /// The cell of a request.
    pub(super) fn find(&self, request: Option<&str>) -> Option<Arc<Cell>> {
        let request = request?;
        self.with(|cells| cells.known.iter().rev().find(|(known, _)| known == request).map(|(_, cell)| Arc::clone(cell)))
    }

    /// The cell that runs.
    pub(super) fn current(&self) -> Option<Arc<Cell>> {
        self.with(|cells| cells.current.clone())
    }

    /// Shows what belongs to a cell, of about this size.
    pub(super) async fn show(&self, cell: &Cell, event: RunEvent, bytes: usize) {
        self.note(cell, &event);
        let fails = matches!(event, RunEvent::Failed { .. });
        if let Some(sink) = cell.sink()
            && sink.push(event, bytes).await
            && fails
        {
            cell.failed.store(true, Ordering::Relaxed);
        }
    }

    /// Shows how a cell has failed, which must not be left out.
    pub(super) fn fail(&self, cell: &Cell, event: RunEvent) {
        self.note(cell, &event);
        if let Some(sink) = cell.sink() {
            sink.put(event);
        }
    }

    /// Shows text that a cell has printed.
    pub(super) async fn print(&self, cell: &Cell, text: &str, is_stderr: bool) {
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.floor_char_boundary(TEXT_BYTES));
            let text = piece.to_owned();
            let event = if is_stderr { RunEvent::Stderr { text } } else { RunEvent::Stdout { text } };
            self.show(cell, event, piece.len()).await;
            rest = behind;
        }
    }

    fn note(&self, cell: &Cell, event: &RunEvent) {
        if let RunEvent::Executing { execution_count } = event {
            cell.execution_count.store(*execution_count, Ordering::Relaxed);
        }
        cell.outputs.fetch_add(1, Ordering::Relaxed);
        self.with_history(|history| history.record(cell.number, event));
    }

    fn with_history<T>(&self, look: impl FnOnce(&mut History) -> T) -> Option<T> {
        self.history.get().map(|history| look(&mut history.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Cells) -> T) -> T {
        look(&mut self.cells.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Cell {
    /// Its caller gets its answer.
    pub(super) fn end(&self) {
        // Dropping it is the end of what the caller hears.
        if let Some(sink) = self.sink.lock().unwrap_or_else(PoisonError::into_inner).take() {
            sink.note_omission();
        }
    }

    fn sink(&self) -> Option<Arc<Sink>> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether its caller has been told how it has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Its number, once the kernel has begun it.
    pub(super) fn execution_count(&self) -> Option<u32> {
        Some(self.execution_count.load(Ordering::Relaxed)).filter(|count| *count > 0)
    }

    /// How much it has shown, as a number that grows.
    pub(super) fn outputs(&self) -> u64 {
        self.outputs.load(Ordering::Relaxed)
    }
}
