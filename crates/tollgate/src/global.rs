//! The client of the whole process.

use std::fmt;
use std::sync::OnceLock;

use crate::client::Client;

static INSTALLED: OnceLock<Client> = OnceLock::new();
// Apart from the installed one, whose place it must not take.
static DEFAULT: OnceLock<Client> = OnceLock::new();

/// Makes `client` the one that [`client()`] returns, for the rest of the process.
///
/// For the application alone, at its start. Libraries take a client as an argument, or use
/// [`client()`].
///
/// # Errors
///
/// [`AlreadyInstalled`] if there is one: what the application chose stays.
pub fn install(client: Client) -> Result<(), AlreadyInstalled> {
    INSTALLED.set(client).map_err(|_| AlreadyInstalled(()))
}

/// The client that was [installed](install), or else one with the defaults that all callers share
/// until there is one.
///
/// Asking for it installs nothing, so a library that asks early does not take the application's
/// choice away. What it got then is not changed by a later installation: keep the client no longer
/// than needed, or ask when there is something to send.
pub fn client() -> Client {
    let default = || DEFAULT.get_or_init(Client::new);
    INSTALLED.get().unwrap_or_else(default).clone()
}

/// A process-wide client was installed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyInstalled(());

impl fmt::Display for AlreadyInstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a process-wide client is installed already and stays; install one only in main, and pass \
             clients to libraries as arguments",
        )
    }
}

impl std::error::Error for AlreadyInstalled {}
