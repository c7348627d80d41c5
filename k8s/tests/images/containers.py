"""A containerd of its own, and containers in it."""

import subprocess

from layouts import FOLDER
from waiting import until


class Containerd:
    """Runs until the process ends; its sockets and data are in `folder`."""

    def __init__(self, folder):
        self.folder, self.socket = folder, folder / "containerd.sock"
        configuration = folder / "containerd.toml"
        configuration.write_text(
            f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{self.socket}"\n'
        )
        with open(folder / "containerd.log", "wb") as log:
            self.process = subprocess.Popen(["containerd", "--config", configuration], stdout=log, stderr=log)
        until("containerd answers", lambda: self.ctr("version"), 30)

    def ctr(self, *arguments):
        command = ["ctr", "--address", self.socket, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout or "done"

    def load(self, name):
        """Imports an image from its layout, and gives its reference."""
        archive = self.folder / f"{name}.tar"
        subprocess.run(["tar", "--create", "--file", archive, "--directory", FOLDER / name, "."], check=True)
        self.ctr("image", "import", "--snapshotter", "native", "--base-name", name, archive)
        (reference,) = [r for r in self.ctr("image", "list", "--quiet").split() if r.startswith(f"{name}:")]
        return reference

    def start(self, name, reference, variables, mounts, program_arguments):
        """Starts a container as the chart would: read-only, no capability, the image's own user.

        It shares this network namespace by its path: --net-host would bring the resolv.conf of the host.
        """
        arguments = ["run", "--snapshotter", "native", "--read-only", "--with-ns", "network:/proc/1/ns/net"]
        for capability in DEFAULT_CAPABILITIES:
            arguments += ["--cap-drop", capability]
        for variable, value in variables.items():
            arguments += ["--env", f"{variable}={value}"]
        for source, target, mode in mounts:
            arguments += ["--mount", f"type=bind,src={source},dst={target},options=rbind:{mode}"]
        # A command given to ctr replaces the image's own, so its name is said again.
        command = [f"/{name}", *program_arguments] if program_arguments else []
        return Container(self, name, [*arguments, reference, name, *command])


# What a container of containerd has unless told otherwise.
DEFAULT_CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
]


class Container:
    """One container, in the foreground of a `ctr run`."""

    def __init__(self, containerd, name, arguments):
        self.containerd, self.name = containerd, name
        self.log = containerd.folder / f"{name}.log"
        with open(self.log, "wb") as log:
            command = ["ctr", "--address", containerd.socket, *map(str, arguments)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def alive(self):
        assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text()}"
        return True

    def pid(self):
        """The process inside, as this namespace numbers it."""
        for line in self.containerd.ctr("task", "list").splitlines()[1:]:
            name, pid, _ = line.split()
            if name == self.name:
                return int(pid)
        raise AssertionError(f"{self.name} does not run")

    def end(self, seconds):
        """Asks it to end, and gives its exit code."""
        self.containerd.ctr("task", "kill", "--signal", "SIGTERM", self.name)
        return self.process.wait(seconds)
