//! A side's process, as the one that gives orders sees it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use bench_load::{Load, Order, READY};

/// A side that takes orders. Dropped, it ends.
#[derive(Debug)]
pub struct SideProcess {
    name: String,
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl SideProcess {
    /// Starts a side, and waits until it takes orders.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn start(program: &OsStr, arguments: &[&str]) -> Result<Self> {
        let name = arguments.join(" ");
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take().context("no standard output")?);
        let mut side = Self { name, child, orders, answers: BufReader::new(answers) };
        side.expect_ready()?;
        Ok(side)
    }

    /// Gives an order that has no answer but that it was carried out.
    ///
    /// # Errors
    ///
    /// If it was not.
    pub fn tell(&mut self, order: Order) -> Result<()> {
        self.say(order)?;
        self.expect_ready()
    }

    /// Gives an order to read or to write.
    ///
    /// # Errors
    ///
    /// If it was not carried out.
    pub fn load(&mut self, order: Order) -> Result<Load> {
        self.say(order)?;
        self.hear()?.parse()
    }

    /// Gives an order to add sessions. Returns the bytes by which its memory has grown.
    ///
    /// # Errors
    ///
    /// If it was not carried out.
    pub fn grow(&mut self, order: Order) -> Result<u64> {
        self.say(order)?;
        let answer = self.hear()?;
        answer.parse().with_context(|| format!("{} answered {answer}", self.name))
    }

    fn say(&mut self, order: Order) -> Result<()> {
        let orders = self.orders.as_mut().context("it takes no orders any more")?;
        writeln!(orders, "{order}").with_context(|| format!("{} has gone", self.name))
    }

    fn expect_ready(&mut self) -> Result<()> {
        let answer = self.hear()?;
        ensure!(answer == READY, "{} answered {answer}", self.name);
        Ok(())
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        let length = self.answers.read_line(&mut line)?;
        ensure!(length > 0, "{} has ended", self.name);
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for SideProcess {
    fn drop(&mut self) {
        // It ends with its standard input; if not, it is not needed any more.
        drop(self.orders.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
