//! Reads what a kernel publishes, always: a kernel drops messages that nobody reads, and among them the end of a cell.

use std::{io, sync::Arc};

use cabana_protocol::code::RunEvent;
use tokio::sync::mpsc;

use super::{
    content::{Clear, Display, Executing, Failure, Status, Stream},
    history,
    kernel::Incoming,
    large_text::LargeText,
    message::{Head, Message, Session, receive_head},
    router::{Cell, Router},
    zmtp::{MAX_FRAME_BYTES, Reader},
};

/// Text of this size is passed on while it comes.
const LARGE_TEXT_BYTES: u64 = 256 << 10;

/// What an event counts that holds little.
const SMALL: usize = 64;

/// How much of it is read at once.
const PIECE_BYTES: usize = 32 << 10;

/// Reads until the connection ends.
pub(super) async fn read(mut reader: Reader, session: Arc<Session>, router: Arc<Router>, incoming: mpsc::Sender<Incoming>) {
    let mut is_first = true;
    let error = loop {
        let head = match receive_head(&mut reader).await {
            Ok(head) => head,
            Err(error) => break error,
        };
        if std::mem::take(&mut is_first) && incoming.send(Incoming::Heard).await.is_err() {
            return;
        }
        if let Err(error) = take(&mut reader, head, &session, &router, &incoming).await {
            break error;
        }
    };
    let _ = incoming.send(Incoming::Lost(error.to_string())).await;
}

async fn take(
    reader: &mut Reader,
    head: Head,
    session: &Session,
    router: &Router,
    incoming: &mpsc::Sender<Incoming>,
) -> io::Result<()> {
    let cell = router.find(head.parent.as_deref());
    let length = head.content.length;
    match (cell, head.kind.as_str()) {
        (_, "status") => {
            let message = session.receive_content(reader, head).await?;
            let is_idle = message.read::<Status<'_>>().is_some_and(|status| status.execution_state == "idle");
            if let (true, Some(parent)) = (is_idle, message.parent) {
                // Fails where the kernel is being ended.
                let _ = incoming.send(Incoming::Idle(parent)).await;
            }
        }
        (Some(_), "execute_input" | "execute_result" | "error") if router.is_flush(head.parent.as_deref()) => {
            reader.skip(length).await?;
            reader.skip_rest(head.content).await?;
        }
        (Some(cell), "stream") if length > LARGE_TEXT_BYTES => print_large(reader, head, session, router, &cell).await?,
        (Some(cell), _) if length > MAX_FRAME_BYTES => {
            reader.skip(length).await?;
            reader.skip_rest(head.content).await?;
            router.show(&cell, RunEvent::Omitted { bytes: length }, SMALL).await;
        }
        (
            Some(cell),
            "stream" | "display_data" | "update_display_data" | "execute_result" | "error" | "clear_output" | "execute_input",
        ) => {
            let message = session.receive_content(reader, head).await?;
            if message.kind == "stream" && message.read::<Stream>().is_some_and(|stream| router.is_sentinel(&stream.text)) {
                let _ = incoming.send(Incoming::Flushed).await;
            } else {
                show(message, router, &cell).await;
            }
        }
        // Comms of widgets, debuggers, and requests that are no cells.
        _ => {
            reader.skip(length).await?;
            reader.skip_rest(head.content).await?;
        }
    }
    Ok(())
}

/// Shows what a message says. One that cannot be read is passed over.
async fn show(message: Message, router: &Router, cell: &Cell) {
    match message.kind.as_str() {
        "stream" => {
            if let Some(Stream { name, text }) = message.read() {
                router.print(cell, &text, name == "stderr").await;
            }
        }
        "error" => {
            if let Some(failure) = message.read::<Failure>() {
                let event = failure.into_event();
                let bytes = message.content.len();
                router.show(cell, event, bytes).await;
            }
        }
        "execute_input" => {
            if let Some(Executing { execution_count: Some(execution_count) }) = message.read() {
                router.show(cell, RunEvent::Executing { execution_count }, SMALL).await;
            }
        }
        "clear_output" => {
            if let Some(Clear { wait }) = message.read() {
                router.show(cell, RunEvent::Clear { wait }, SMALL).await;
            }
        }
        kind => {
            let Some(mut display) = message.read::<Display>() else { return };
            let display_id = display.display_id();
            let (data, metadata) = display.into_bundles();
            let bytes = history::size(&data) + history::size(&metadata);
            let event = match (kind, display_id) {
                ("execute_result", _) => RunEvent::Value { data, metadata },
                ("update_display_data", Some(display_id)) => RunEvent::Update { display_id, data, metadata },
                (_, display_id) => RunEvent::Display { display_id, data, metadata },
            };
            drop(message);
            router.show(cell, event, bytes).await;
        }
    }
}

/// Passes on a text while it comes.
async fn print_large(reader: &mut Reader, head: Head, session: &Session, router: &Router, cell: &Cell) -> io::Result<()> {
    let mut mac = session.check(&head);
    let (mut large, mut rest) = (LargeText::default(), head.content.length);
    let mut buffer = vec![0; PIECE_BYTES];
    while rest > 0 {
        let read = reader.read_piece(rest, &mut buffer).await?;
        rest -= read as u64;
        hmac::Mac::update(&mut mac, &buffer[..read]);
        large.feed(&buffer[..read]);
        router.print(cell, &large.take(), large.is_stderr()).await;
    }
    reader.skip_rest(head.content).await?;
    head.verify(mac)
}
