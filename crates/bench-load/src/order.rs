//! The lines of text between the process that gives orders and a side.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail, ensure};

/// The line that a side prints once it can take orders, and after an order that has no other answer.
pub const READY: &str = "ready";

/// An order to a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Logs in this number of sessions and fills them; those from before are forgotten. Answered by [`READY`].
    LogIn(usize),
    /// Counts the further sessions that log in, one after another, and change a value. Their browsers are forgotten.
    /// Answered by the bytes by which the process's memory has grown.
    Grow(usize, u32),
    /// Each session reads a value so often. Answered by a [`Load`].
    Read(u32),
    /// Each session changes a value so often. Answered by a [`Load`].
    Write(u32),
    /// Lets this number of milliseconds pass, if the side has a clock of its own. Answered by [`READY`].
    Pass(u64),
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogIn(sessions) => write!(f, "login {sessions}"),
            Self::Grow(sessions, writes) => write!(f, "grow {sessions} {writes}"),
            Self::Read(each) => write!(f, "read {each}"),
            Self::Write(each) => write!(f, "write {each}"),
            Self::Pass(millis) => write!(f, "pass {millis}"),
        }
    }
}

impl FromStr for Order {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let (order, number) = line.split_once(' ').with_context(|| format!("not an order: {line}"))?;
        Ok(match order {
            "login" => Self::LogIn(number.parse()?),
            "grow" => {
                let (sessions, writes) = number.split_once(' ').with_context(|| format!("not two numbers: {line}"))?;
                Self::Grow(sessions.parse()?, writes.parse()?)
            }
            "read" => Self::Read(number.parse()?),
            "write" => Self::Write(number.parse()?),
            "pass" => Self::Pass(number.parse()?),
            _ => bail!("not an order: {line}"),
        })
    }
}

/// The result of reading or writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The time that all of it took.
    pub elapsed: Duration,
    /// Requests that were not answered as they should be.
    pub failed: u64,
    /// Bytes that the process has written to files meanwhile.
    pub written: u64,
    /// The time that each request took, in nanoseconds.
    pub latencies: Vec<u64>,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.elapsed.as_nanos(), self.failed, self.written)?;
        self.latencies.iter().try_for_each(|latency| write!(f, " {latency}"))
    }
}

impl FromStr for Load {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().context("not numbers")?;
        ensure!(numbers.len() >= 3, "not the answer to a load: {line}");
        Ok(Self {
            elapsed: Duration::from_nanos(numbers[0]),
            failed: numbers[1],
            written: numbers[2],
            latencies: numbers[3..].to_vec(),
        })
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn orders_and_answers_are_read_as_they_were_written() {
        for order in [Order::LogIn(64), Order::Grow(9, 1), Order::Read(3), Order::Write(4), Order::Pass(5)] {
            assert_eq!(order.to_string().parse::<Order>().expect("an order"), order);
        }
        assert!("sleep 3".parse::<Order>().is_err() && "grow 3".parse::<Order>().is_err());
        let load = Load { elapsed: Duration::from_millis(7), failed: 1, written: 9, latencies: vec![10, 20] };
        assert_eq!(load.to_string().parse::<Load>().expect("a load"), load);
        assert!("1 2".parse::<Load>().is_err());
    }
}
