//! The process inside the sandbox's container: commands and files over HTTP and WebSocket.
