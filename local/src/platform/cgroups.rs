//! Control groups of nodes (cgroups(7)), of either version of the kernel's interface.

use std::fs;
use std::io;
use std::path::Path;

/// Where the kernel shows them.
const ROOT: &str = "/sys/fs/cgroup";

/// The share of an environment's pods, beside 1024 for every other process of the machine: a machine that also
/// compiles must not starve them. Of version 1, and of version 2.
const SHARES: (&str, &str) = ("16384", "1600");

/// Makes the group `/ENVIRONMENT/NODE`, with processors, memory and process ids of its own, in every hierarchy.
pub(super) fn make(group: &str) -> io::Result<()> {
    let own = Path::new(group.trim_start_matches('/'));
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").is_file() {
        return unified(root, own);
    }
    for hierarchy in fs::read_dir(root)?.flatten() {
        fs::create_dir_all(hierarchy.path().join(own))?;
        let mut whole = hierarchy.path();
        for (depth, part) in own.iter().enumerate() {
            let above = whole.clone();
            whole.push(part);
            // A cpuset without processors takes no process.
            if hierarchy.file_name() == "cpuset" {
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    fs::write(whole.join(file), fs::read_to_string(above.join(file))?)?;
                }
            }
            if hierarchy.file_name() == "cpu" && depth == 0 {
                fs::write(whole.join("cpu.shares"), SHARES.0)?;
            }
        }
    }
    Ok(())
}

/// Version 2: a controller works in a group where the group above hands it on.
fn unified(root: &Path, own: &Path) -> io::Result<()> {
    let mut whole = root.to_owned();
    for (depth, part) in own.iter().enumerate() {
        fs::write(whole.join("cgroup.subtree_control"), "+cpu +cpuset +memory +pids")?;
        whole.push(part);
        fs::create_dir_all(&whole)?;
        if depth == 0 {
            fs::write(whole.join("cpu.weight"), SHARES.1)?;
        }
    }
    fs::write(whole.join("cgroup.subtree_control"), "+cpu +cpuset +memory +pids")
}

/// Removes an environment's group with those below it, which are empty once their processes have ended.
pub(super) fn remove(environment: &str) -> io::Result<()> {
    let root = Path::new(ROOT);
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|hierarchy| hierarchy.path());
    for folder in hierarchies.chain([root.to_owned()]).map(|hierarchy| hierarchy.join(environment)) {
        if folder.is_dir() {
            remove_all(&folder)?;
        }
    }
    Ok(())
}

fn remove_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_all(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}
