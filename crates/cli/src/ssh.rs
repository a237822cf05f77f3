//! SSH without a server in the sandbox: it ends in this program, and each channel becomes operations.

mod forwards;
mod host_key;
mod modes;
mod server;
mod session;
mod settings;
mod sockets;

pub(crate) use server::serve;
pub(crate) use settings::Settings;

/// What stands behind the name of a sandbox in the name of a host.
pub(crate) const SUFFIX: &str = ".cabana";

/// The user whom `cabana setup ssh` names: the sandbox's own default. Any other name is a user of the sandbox.
pub(crate) const USER: &str = "cabana";

/// The agent's own program, for the shell: where images have it, or else the local engine.
const AGENT: &str = "\"$(command -v cabana-agent || echo /run/cabana/agent)\"";
