use super::*;
use crate::wait::wait_until;

const LONG: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Program {
    Program::new("shell", "/bin/sh").argument("-c").argument(script).variable("PATH", "/usr/bin:/bin")
}

fn exists(pid: u32) -> bool {
    // A zombie that nobody has waited for yet is no longer running.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z")))
}

async fn number_in(path: &Path) -> u32 {
    wait_until("the pid in the log", LONG, async || {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.strip_suffix('\n').and_then(|line| line.parse().ok())
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn output_goes_to_the_log_and_the_status_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let process = shell("echo out; echo err >&2; exit 3").log(&log).start().unwrap();
    assert_eq!(process.ended().await.code(), Some(3));
    assert_eq!(fs::read_to_string(&log).unwrap(), "out\nerr\n");
    assert_eq!(process.log_tail(1), "err");
    let error = process.check_running().unwrap_err().to_string();
    assert!(error.contains("exit status: 3") && error.ends_with("out\nerr"), "{error}");
}

#[tokio::test]
async fn nothing_of_our_environment_is_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let process = Program::new("env", "/usr/bin/env").variable("ONLY", "this").log(folder.path().join("log"));
    process.start().unwrap().ended().await;
    assert_eq!(fs::read_to_string(folder.path().join("log")).unwrap(), "ONLY=this\n");
}

#[tokio::test]
async fn stop_asks_first_and_kills_after_the_grace() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let polite = shell("trap 'exit 7' TERM; tail -f /dev/null & echo $$; wait").log(&ready);
    let polite = polite.start().unwrap();
    number_in(&ready).await;
    assert_eq!(polite.stop(LONG).await.code(), Some(7));

    let ready = folder.path().join("ready2");
    let deaf = shell("trap '' TERM; echo $$; exec tail -f /dev/null").log(&ready).start().unwrap();
    number_in(&ready).await;
    let status = deaf.stop(Duration::from_millis(50)).await;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
}

#[tokio::test]
async fn a_paused_child_can_be_stopped() {
    let child = shell("exec tail -f /dev/null").start().unwrap();
    child.pause().await.unwrap();
    assert!(child.facts().is_stopped().unwrap());
    let status = child.stop(LONG).await;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
}

#[tokio::test]
async fn dropping_kills_grandchildren_too() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let child = shell("tail -f /dev/null & echo $!; wait").log(&log).start().unwrap();
    let grandchild = number_in(&log).await;
    let pid = child.pid();
    assert!(exists(grandchild));
    drop(child);
    assert!(!exists(pid), "the child outlived its handle");
    wait_until("the grandchild's end", LONG, async || !exists(grandchild)).await.unwrap();
}

#[tokio::test]
async fn what_a_child_leaves_behind_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let child = shell("tail -f /dev/null & echo $!").log(&log).start().unwrap();
    child.ended().await;
    let grandchild = number_in(&log).await;
    wait_until("the grandchild's end", LONG, async || !exists(grandchild)).await.unwrap();
}

#[tokio::test]
async fn a_child_outlives_the_thread_that_asked_for_it() {
    let child = std::thread::spawn(|| shell("exec tail -f /dev/null").start().unwrap()).join().unwrap();
    // A death signal would arrive at once; what shows that none did is that the child answers to ours.
    child.signal(Signal::USR1).unwrap();
    let status = child.ended().await;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(10));
}

#[test]
fn a_missing_program_is_named() {
    let error = Program::new("agent", "/nowhere/agent").start().unwrap_err();
    assert_eq!(error.to_string(), "start agent (/nowhere/agent)");
}

#[tokio::test]
async fn proc_tells_memory_time_environment_and_arguments() {
    let child = shell("while :; do :; done").variable("A", "b").start().unwrap();
    let facts = child.facts();
    wait_until("processor time to be used", LONG, async || {
        facts.processor_time().is_ok_and(|time| time >= Duration::from_millis(50))
    })
    .await
    .unwrap();
    let (resident, private) = (facts.resident().unwrap(), facts.private().unwrap());
    assert!((100 << 10..64 << 20).contains(&resident), "{resident}");
    assert!(private > 0 && private <= facts.proportional().unwrap());
    assert_eq!(facts.environment().unwrap(), b"A=b\0PATH=/usr/bin:/bin\0");
    assert_eq!(facts.command_line().unwrap(), b"/bin/sh\0-c\0while :; do :; done\0");
}
