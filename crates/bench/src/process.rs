//! What `/proc` says of processes: proc_pid_status(5) and proc_pid_stat(5).

use anyhow::{Context, Result};
use std::fs;
use std::iter;
use std::time::Duration;

/// Resident memory of a process now, in bytes.
pub(crate) fn resident_bytes(process: u32) -> Result<u64> {
    memory(process, "VmRSS")
}

/// The most resident memory that a process has had, in bytes.
pub(crate) fn peak_bytes(process: u32) -> Result<u64> {
    memory(process, "VmHWM")
}

/// Open descriptors of a process.
pub(crate) fn descriptors(process: u32) -> Result<u64> {
    let open = fs::read_dir(format!("/proc/{process}/fd")).context("list a process's descriptors")?;
    Ok(open.count() as u64)
}

/// Children of a process that have exited and have not been waited for.
pub(crate) fn zombies(parent: u32) -> Result<u64> {
    let parent = parent.to_string();
    let stats = all()?.filter_map(stat);
    Ok(stats.filter(|stat| stat[0] == "Z" && stat[1] == parent).count() as u64)
}

/// Processor time of a process, without that of its children.
pub(crate) fn cpu_time(process: u32) -> Result<Duration> {
    let stat = stat(process).context("read a process's stat")?;
    let ticks = stat[11].parse::<u64>()? + stat[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second()))
}

/// The processes of this name among the descendants of a process.
pub(crate) fn descendants(ancestor: u32, name: &str) -> Result<Vec<u32>> {
    let parent = |process: &u32| status(*process, "PPid")?.parse().ok().filter(|parent| *parent > 1);
    let descends = |process: &u32| iter::successors(Some(*process), parent).any(|process| process == ancestor);
    let has_name = |process: &u32| status(*process, "Name").is_some_and(|found| found == name);
    Ok(all()?.filter(has_name).filter(descends).collect())
}

fn all() -> Result<impl Iterator<Item = u32>> {
    let entries = fs::read_dir("/proc").context("list the processes")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

fn memory(process: u32, field: &str) -> Result<u64> {
    let value = status(process, field).with_context(|| format!("process {process} has no field {field} in its status"))?;
    let kibibytes = value.strip_suffix(" kB").and_then(|value| value.parse::<u64>().ok());
    kibibytes.map(|kibibytes| kibibytes << 10).with_context(|| format!("{field} is {value}, not a size in kB"))
}

fn status(process: u32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(|value| value.trim().to_owned()))
}

/// The fields from the state on: the name before them may hold blanks and parentheses.
fn stat(process: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio, id};

    #[test]
    fn a_child_is_found_by_name_below_its_ancestor_only() {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // Until it has executed the program it has this program's name.
        while status(cat.id(), "Name").as_deref() != Some("cat") {
            std::thread::yield_now();
        }
        assert!(descendants(id(), "cat").unwrap().contains(&cat.id()));
        assert_eq!(descendants(cat.id(), "cat").unwrap(), [cat.id()]);
        assert!(!descendants(id(), "dog").unwrap().contains(&cat.id()));
        drop(cat.stdin.take());
        cat.wait().unwrap();
    }

    #[test]
    fn an_exited_child_is_a_zombie_until_it_is_waited_for() {
        let mut child = Command::new("true").spawn().unwrap();
        while stat(child.id()).is_none_or(|stat| stat[0] != "Z") {
            std::thread::yield_now();
        }
        assert!(zombies(id()).unwrap() >= 1);
        child.wait().unwrap();
        assert!(stat(child.id()).is_none());
    }

    #[test]
    fn resident_memory_is_at_most_its_peak() {
        let resident = resident_bytes(id()).unwrap();
        assert!(0 < resident && resident <= peak_bytes(id()).unwrap());
    }
}
