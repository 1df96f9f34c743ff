//! Whether standard output can be written, for verbs that print for as long as they run.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Waits until standard output takes a line without blocking. A pipe or terminal that nobody reads does not, so that a
/// signal could not end the verb. A closed one does: the write shows the error.
pub(crate) fn is_writable(timeout: Duration) -> io::Result<bool> {
    Ok(!events(PollFlags::OUT, timeout)?.is_empty())
}

/// Whether the reader of standard output is gone.
pub(crate) fn is_closed() -> bool {
    let gone = PollFlags::ERR | PollFlags::HUP;
    events(PollFlags::empty(), Duration::ZERO).is_ok_and(|events| events.intersects(gone))
}

fn events(wanted: PollFlags, timeout: Duration) -> io::Result<PollFlags> {
    let stdout = io::stdout();
    let mut fds = [PollFd::new(&stdout, wanted)];
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) => Ok(fds[0].revents()),
        // A signal; the caller looks for it.
        Err(rustix::io::Errno::INTR) => Ok(PollFlags::empty()),
        Err(error) => Err(error.into()),
    }
}
