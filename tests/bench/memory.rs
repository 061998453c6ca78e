use std::fs;

use crate::Failure;

/// Resident memory of the server's process, in MB, or nothing when no process was named.
pub(crate) struct Memory {
    pid: Option<u32>,
    /// At the start, the most seen, and the last seen.
    pub(crate) figures: Option<(f64, f64, f64)>,
}

impl Memory {
    /// Takes the first reading.
    ///
    /// # Errors
    /// When `/proc` knows no memory of that process: better said before the work than after it.
    pub(crate) fn of(pid: Option<u32>) -> Result<Self, Failure> {
        let figures = match pid {
            None => None,
            Some(pid) => {
                let now = resident(pid)
                    .ok_or_else(|| format!("no resident memory of process {pid} in /proc"))?;
                Some((now, now, now))
            }
        };
        Ok(Self { pid, figures })
    }

    /// Takes another reading. A process that is gone keeps its last one.
    pub(crate) fn sample(&mut self) {
        let now = self.pid.and_then(resident);
        if let (Some((_, most, last)), Some(now)) = (&mut self.figures, now) {
            *most = most.max(now);
            *last = now;
        }
    }
}

fn resident(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes / 1024.0)
}
