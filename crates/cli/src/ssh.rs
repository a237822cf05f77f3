//! SSH without a server in the sandbox: it ends in this program, and each channel becomes operations.

mod host_key;
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
