//! A machine: namespaces and their first process. Commands run in it, and end with it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::eventually;
use crate::Result;

/// How long a program may take to end after SIGTERM.
const ENDS: Duration = Duration::from_secs(20);

/// A command with an empty environment: no proxy, no KUBECONFIG.
pub(super) fn plain(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root");
    command.stdin(Stdio::null());
    command
}

/// Namespaces, held by a process that is the first one in them.
pub struct Machine {
    /// The process that waits for the first process.
    holder: Child,
    /// The first process's id, outside the machine.
    first: u32,
}

impl Machine {
    /// Runs a command that creates namespaces with a first process, which writes `ready` when it is.
    pub(super) fn boot(mut command: Command) -> Result<Self> {
        // A separate group: Ctrl-C in a terminal goes only to the test, whose end also ends this.
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.spawn()?;
        let mut word = String::new();
        if let Some(stdout) = holder.stdout.take() {
            BufReader::new(stdout).read_line(&mut word)?;
        }
        if word != "ready\n" {
            drop(holder.stdin.take());
            let mut reason = String::new();
            if let Some(mut stderr) = holder.stderr.take() {
                stderr.read_to_string(&mut reason)?;
            }
            holder.wait()?;
            return Err(format!("no namespaces here: {}", reason.trim()).into());
        }
        let first = first_below(holder.id())?;
        Ok(Self { holder, first })
    }

    /// The first process's id, outside the machine.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// A path of this machine, as seen from outside.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        PathBuf::from(format!("/proc/{}/root", self.first)).join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A command that runs in this machine.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = plain("nsenter");
        command.arg(format!("--target={}", self.first)).args(["--net", "--mount", "--uts", "--pid", "--"]).arg(program);
        command
    }

    /// Listens on an address of this machine. Port 0 is any free one.
    pub(super) fn listen(&self, at: SocketAddr) -> Result<TcpListener> {
        let network = self.network()?;
        let bound = thread::spawn(move || {
            network.enter()?;
            TcpListener::bind(at)
        });
        Ok(bound.join().map_err(|_| "a thread panicked")??)
    }

    pub(super) fn network(&self) -> Result<Network> {
        Ok(Network(File::open(format!("/proc/{}/ns/net", self.first))?))
    }

    /// Runs a command, split at white space. Returns its output.
    pub fn run(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let mut command = self.command(words.next().unwrap_or_default());
        command.args(words);
        output(&mut command)
    }

    /// Runs a shell script.
    pub fn script(&self, lines: &str) -> Result<String> {
        let mut command = self.command("sh");
        command.args(["-euc", lines]);
        output(&mut command)
    }

    /// Kills the first process, and so all others of the machine at once, like a power failure.
    pub(super) fn cut(&mut self) -> Result<()> {
        let mut command = plain("kill");
        command.args(["-KILL", &self.first.to_string()]);
        output(&mut command)?;
        self.holder.wait()?;
        Ok(())
    }

    /// Ends the first process by closing its standard input.
    pub(super) fn end(&mut self) {
        drop(self.holder.stdin.take());
        // Its standard input is closed, so it ends soon.
        let _ = self.holder.wait();
    }

    /// Starts a program that keeps running. Its output and its process id go to files of this machine.
    pub(super) fn daemon(&self, log: &Path, program: &Path, args: &[String]) -> Result<Daemon> {
        let mut line = vec![log.as_os_str().to_owned(), log.with_extension("pid").into(), program.into()];
        line.extend(args.iter().map(OsString::from));
        let holder = spawn(self, &line)?;
        Ok(Daemon { log: log.to_path_buf(), line, holder })
    }
}

/// The network of a machine.
pub(super) struct Network(File);

impl Network {
    /// Moves this thread into the network. New sockets of the thread belong to it.
    pub(super) fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?)
    }
}

/// A program that keeps running in a machine.
pub struct Daemon {
    log: PathBuf,
    line: Vec<OsString>,
    holder: Child,
}

impl Daemon {
    /// Whether it has ended, and how.
    pub(super) fn ended(&mut self) -> Result<Option<String>> {
        Ok(self.holder.try_wait()?.map(|status| status.to_string()))
    }

    /// Sends it a signal by its process id, in its machine.
    pub fn signal(&self, machine: &Machine, signal: &str) -> Result<()> {
        let pid = fs::read_to_string(machine.path(self.log.with_extension("pid")))?;
        machine.run(&format!("kill -{signal} {}", pid.trim())).map(drop)
    }

    /// Ends it with a signal, and waits for its end.
    pub fn stop(&mut self, machine: &Machine, signal: &str) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        self.signal(machine, signal)?;
        eventually("a program ends", ENDS, Duration::from_millis(5), || self.ended()).map(drop)
    }

    /// Starts it again after it has ended.
    pub fn start(&mut self, machine: &Machine) -> Result<()> {
        self.start_with(machine, &[])
    }

    /// The same with more arguments, once.
    pub(super) fn start_with(&mut self, machine: &Machine, more: &[String]) -> Result<()> {
        let more = more.iter().map(OsString::from);
        let line: Vec<OsString> = self.line.iter().cloned().chain(more).collect();
        self.holder = spawn(machine, &line)?;
        Ok(())
    }

    /// Its output so far.
    pub fn log(&self, machine: &Machine) -> String {
        fs::read_to_string(machine.path(&self.log)).unwrap_or_default()
    }
}

/// Starts a program that keeps running. The line has its log, the file for its process id, its path and its arguments.
fn spawn(machine: &Machine, line: &[OsString]) -> Result<Child> {
    let mut command = machine.command("sh");
    command.args(["-c", "log=$1 pid=$2; shift 2; echo $$ >\"$pid\"; exec \"$@\" >>\"$log\" 2>&1", "daemon"]);
    command.args(line).process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.spawn()?)
}

pub(super) fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    // A CNI plugin writes its error to standard output.
    let said =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned()).join("\n");
    let args: Vec<_> =
        command.get_args().map(|arg| arg.to_string_lossy()).skip_while(|arg| arg != "--").skip(1).collect();
    Err(format!("{}: {}, {}", args.join(" "), output.status, said.trim()).into())
}

/// The first process of a namespace among the descendants of a process: it has id 1 in its innermost namespace.
fn first_below(process: u32) -> Result<u32> {
    let mut at = process;
    loop {
        let status = fs::read_to_string(format!("/proc/{at}/status"))?;
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        if numbers.split_whitespace().count() > 1 && numbers.ends_with("\t1") {
            return Ok(at);
        }
        let children = fs::read_to_string(format!("/proc/{at}/task/{at}/children"))?;
        let only = children.split_whitespace().next().ok_or("a machine has no first process")?;
        at = only.parse()?;
    }
}
