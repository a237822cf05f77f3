//! The raw form of a streaming operation over HTTP, `Accept: application/octet-stream`: the bytes of stdout as they come, and nothing
//! else.
//!
//! The process is named by a header, the result stands in a trailer, which a client gets that sends `TE: trailers`; hops on the way may
//! drop it. A detached process can be asked with `process.get` afterwards. An operation that fails after its first byte, and output that is
//! no longer kept, break the connection off.

/// The header with the id of the process.
pub const PROCESS_HEADER: &str = "x-cabana-process";

/// The trailer with the result, JSON of one line.
pub const RESULT_TRAILER: &str = "x-cabana-result";
