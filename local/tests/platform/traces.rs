//! What an environment leaves on a machine.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What of the machine an environment may have touched.
pub(crate) fn traces(environment: &str) -> Vec<String> {
    let name = format!("meridian-{environment}");
    let ran = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut traces: Vec<String> = [
        ran("ip", &["netns", "list"]),
        ran("ip", &["-detail", "link", "show"]),
        ran("mount", &[]),
        ran("find", &["/sys/fs/cgroup", "-maxdepth", "2", "-type", "d"]),
        ran("ps", &["-eo", "args"]),
    ]
    .iter()
    .flat_map(|text| text.lines().filter(|line| line.contains(&name)).map(str::to_owned).collect::<Vec<_>>())
    .collect();
    traces.sort();
    traces
}

/// Settings of the kernel that a kubelet would change.
pub(crate) fn kernel() -> Vec<String> {
    ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward"]
        .map(|setting| fs::read_to_string(Path::new("/proc/sys").join(setting)).unwrap())
        .into()
}
