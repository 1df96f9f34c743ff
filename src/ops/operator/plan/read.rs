//! Reads a file, a pipe or standard input as text.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::time::Timespec;

use super::STDIN;

/// How long the writer of a named pipe may write nothing: longer than a renderer takes that fetches charts first. Without
/// a limit, a pipe without a writer would block for ever.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// The beginning of a text in UTF-16, which PowerShell writes.
const UTF_16: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// Reads at most `at_most` bytes.
pub(super) fn read(path: &Path, at_most: u64) -> io::Result<String> {
    if path.as_os_str() == STDIN {
        return text(io::stdin().lock(), at_most);
    }
    if fs::metadata(path)?.file_type().is_fifo() {
        return text(Pipe::open(path, MAX_SILENCE)?, at_most);
    }
    text(File::open(path)?, at_most)
}

fn text(file: impl Read, at_most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(at_most).read_to_end(&mut bytes)?;
    if UTF_16.iter().any(|mark| bytes.starts_with(mark)) {
        return Err(io::Error::new(ErrorKind::InvalidData, "the text is UTF-16; save it as UTF-8"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::new(ErrorKind::InvalidData, format!("not a text in UTF-8, from byte {at} on"))
    })
}

/// A named pipe, opened without waiting for its writer.
struct Pipe {
    file: File,
    max_silence: Duration,
}

impl Pipe {
    fn open(path: &Path, max_silence: Duration) -> io::Result<Self> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        Ok(Self { file, max_silence })
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let timeout = Timespec::try_from(self.max_silence).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => {
                    let seconds = self.max_silence.as_secs_f32();
                    let message = format!("nothing has been written to this pipe for {seconds} seconds");
                    return Err(io::Error::new(ErrorKind::TimedOut, message));
                }
                Ok(_) => match self.file.read(buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    result => return result,
                },
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn pipe(folder: &tempfile::TempDir) -> std::path::PathBuf {
        let path = folder.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        path
    }

    #[test]
    fn a_pipe_without_a_writer_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = Pipe::open(&pipe(&folder), Duration::from_millis(20)).unwrap();
        let error = text(pipe, 100).unwrap_err();
        assert_eq!(error.to_string(), "nothing has been written to this pipe for 0.02 seconds");
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = pipe(&folder);
        let writer = {
            let path = path.clone();
            std::thread::spawn(move || fs::write(path, "a: 1\n"))
        };
        assert_eq!(read(&path, 100).unwrap(), "a: 1\n");
        writer.join().unwrap().unwrap();
    }

    #[test]
    fn a_text_is_utf_8() {
        let error = |bytes: &[u8]| text(bytes, 100).unwrap_err().to_string();
        assert_eq!(error(b"a: 1\n\xe4"), "not a text in UTF-8, from byte 5 on");
        assert_eq!(error(b"\xff\xfea\0"), "the text is UTF-16; save it as UTF-8");
        assert_eq!(text("ü: 1".as_bytes(), 3).unwrap(), "ü:");
    }
}
