//! A running server: the process that was started, and those that it started itself.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;

#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts a server whose words go to `log`, in a process group of its own: Ctrl-C is not meant for it.
    pub(crate) fn start(mut command: Command, log: &File) -> Result<Self, Error> {
        let copy = || log.try_clone().map_err(Error::io("share the log"));
        command.stdin(Stdio::null()).stdout(copy()?).stderr(copy()?).process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        command.spawn().map(Self).map_err(Error::io(format!("start {program}")))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// SIGKILL to all of them. A server that could tell the difference from a power cut of its own would be cheating.
    pub(crate) fn kill(mut self) -> Result<(), Error> {
        // Stopped first, so that it starts no other meanwhile.
        self.pause()?;
        for pid in self.family() {
            send(pid, Signal::KILL)?;
        }
        self.0.wait().map(drop).map_err(Error::io("wait for the end of the server"))
    }

    pub(crate) fn pause(&self) -> Result<(), Error> {
        send(self.id(), Signal::STOP)?;
        self.family().into_iter().try_for_each(|pid| send(pid, Signal::STOP))
    }

    pub(crate) fn resume(&self) -> Result<(), Error> {
        self.family().into_iter().rev().try_for_each(|pid| send(pid, Signal::CONT))
    }

    /// The process and all below it, parents first. (PostgreSQL serves each connection from a process of its own, in a
    /// process group of its own.)
    fn family(&self) -> Vec<u32> {
        let parents = parents();
        let mut family = vec![self.id()];
        let mut at = 0;
        while let Some(parent) = family.get(at).copied() {
            family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            at += 1;
        }
        family
    }
}

/// Every process with its parent; none where there is no `/proc`.
fn parents() -> Vec<(u32, u32)> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let parent = |stat: &str| stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok();
    processes
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read(entry.path().join("stat")).ok()?;
            Some((pid, parent(&String::from_utf8_lossy(&stat))?))
        })
        .collect()
}

/// A process that is gone already is no error.
fn send(pid: u32, signal: Signal) -> Result<(), Error> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(Error::io("signal the server")(error.into())),
    }
}
