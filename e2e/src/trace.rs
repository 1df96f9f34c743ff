//! Lists the system calls by which a CNI call changes files or talks to its store, and kills it at one of them. Uses
//! strace(1).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cni::{Call, Reply};
use crate::node::Node;

/// The successful system calls to list. Of `openat`, only those that may create a file.
const TRACED: &str = "openat,mkdir,write,writev,pwrite64,pwritev,sendto,sendmsg,connect,fsync,fdatasync,rename,renameat,\
                      renameat2,unlink,unlinkat,truncate,ftruncate,fallocate,symlink,symlinkat";

/// A system call of a CNI call.
#[derive(Clone, Debug)]
pub struct Step {
    name: String,
    /// The path below the machine's folder; `None` for a socket or a pipe.
    file: Option<PathBuf>,
    /// Its number among its thread's calls of this name, on this file if there is one. The first is 1.
    nth: u32,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_deref().unwrap_or(Path::new("(no file)"));
        write!(f, "{} {} of {}", self.name, self.nth, file.display())
    }
}

/// Whether strace works on this machine. If not, reports the test as skipped.
pub fn works_or_skip(test: &str) -> bool {
    let tried = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).stdout(Stdio::null()).output();
    let why = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => format!("strace may not trace here: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => format!("strace does not run (apt-get install strace): {error}"),
    };
    crate::skip(test, &why);
    false
}

/// Runs a call to its end and lists its steps.
///
/// # Panics
/// If strace writes no list.
pub fn steps(node: &Node, call: Call) -> (Reply, Vec<Step>) {
    let list = node.path("strace");
    let reply = call.through(strace(&list, &[&format!("--trace={TRACED}"), "-y"])).run();
    let text = std::fs::read_to_string(&list).unwrap_or_else(|error| panic!("strace left no list: {error}"));
    (reply, read(&text, &node.path("")))
}

/// Runs a call and kills it before this step; `None` if it was killed. A call may take another path than the listed one
/// and then runs to its end.
pub fn killed_at(node: &Node, call: Call, step: &Step) -> Option<Reply> {
    let list = node.path("strace");
    let inject = format!("--inject={}:signal=KILL:when={}", step.name, step.nth);
    let trace = format!("--trace={TRACED}");
    let mut options = vec![trace, inject];
    if let Some(file) = &step.file {
        options.push(format!("--trace-path={}", node.path("").join(file).display()));
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let reply = call.through(strace(&list, &options)).run();
    // strace ends in the same way as the program.
    reply.status.code().is_some().then_some(reply)
}

fn strace(list: &Path, options: &[&str]) -> Vec<OsString> {
    let start = ["strace", "-f", "--signal=none", "-o"].map(OsString::from);
    start.into_iter().chain([list.into()]).chain(options.iter().map(OsString::from)).collect()
}

/// Reads lines of the form `4711 pwrite64(5</path>, "…", 512, 0) = 512`.
fn read(list: &str, root: &Path) -> Vec<Step> {
    let mut counts: BTreeMap<(&str, &str, Option<PathBuf>), u32> = BTreeMap::new();
    let mut steps = Vec::new();
    for line in list.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((name, arguments)) = rest.trim_start().split_once('(') else { continue };
        if name.contains(['<', '+', ' ']) {
            continue;
        }
        // strace matches the first path of a rename.
        let file = first_file(arguments, root).filter(|file| !varies(file, thread));
        let of_name = counts.entry((thread, name, None)).or_default();
        *of_name += 1;
        let mut nth = *of_name;
        if file.is_some() {
            let of_file = counts.entry((thread, name, file.clone())).or_default();
            *of_file += 1;
            nth = *of_file;
        }
        let failed = arguments.contains(") = -1 ");
        let only_reads = name == "openat" && !arguments.contains("O_CREAT");
        if !failed && !only_reads {
            steps.push(Step { name: name.to_owned(), file, nth });
        }
    }
    steps
}

/// Whether another run has another name for a file: one with the thread's ID, or with a digest of the place of the store.
fn varies(file: &Path, thread: &str) -> bool {
    let is_of_store = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"seen-"));
    file.extension() == Some(OsStr::new(thread)) || is_of_store
}

/// The first path in the arguments, quoted or of a descriptor, if it is below the root.
fn first_file(arguments: &str, root: &Path) -> Option<PathBuf> {
    let name = arguments.split(['"', '<', '>']).find(|word| word.starts_with('/'))?;
    Path::new(name).strip_prefix(root).ok().map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_by_thread_name_and_file() {
        let list = "\
7 openat(AT_FDCWD, \"/etc/ld.so.cache\", O_RDONLY|O_CLOEXEC) = 3</etc/ld.so.cache>
7 openat(AT_FDCWD, \"/n/records/a.json\", O_RDWR|O_CREAT, 0600) = -1 ENOENT (No such file or directory)
7 openat(AT_FDCWD, \"/n/records/a.json\", O_RDWR|O_CREAT, 0600) = 3</n/records/a.json>
9 pwrite64(6</n/addresses/db>, \"..\", 4, 0) = 4
9 fsync(6</n/addresses/db> <unfinished ...>
7 write(1<pipe:[42]>, \"{}\", 2) = 2
9 <... fsync resumed>) = 0
9 +++ exited with 0 +++
7 rename(\"/n/records/hint.7\", \"/n/records/hint\") = 0
7 pwrite64(4</n/records/node-1/seen-0c>, \"..\", 8, 0) = 8
";
        let found: Vec<String> = read(list, Path::new("/n")).iter().map(ToString::to_string).collect();
        let expected = [
            "openat 2 of records/a.json",
            "pwrite64 1 of addresses/db",
            "fsync 1 of addresses/db",
            "write 1 of (no file)",
            "rename 1 of (no file)",
            "pwrite64 1 of (no file)",
        ];
        assert_eq!(found, expected);
    }
}
