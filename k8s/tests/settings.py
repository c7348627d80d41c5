"""Every setting that the programs have: the chart gives it, or leaves it to its default for a reason that stands here.
The programs name their settings themselves, when they are asked for one that they do not know."""

import re
import subprocess

import manifests
import programs
from rendering import WORK
from report import check, skip

UNKNOWN = re.compile(r"unknown key `x`; allowed: (.*)|auth\.x: is not one of (.*)")
DOCUMENT = "the document kv/service/config says it, within the ceilings"
BOUND = "a bound that holds for every region; measured where it stands in service/src/configuration/raw.rs"
PORT = "every address, at the fixed port, which `ports` and the NetworkPolicies name"
READS = "as the fixed names of Vault's paths say, and the same for every region"
OTHER = "another way to log in"
LEFT = {
    "service": {
        "public.listen": PORT, "admin.listen": PORT,
        "http.handshake_timeout": BOUND, "http.header_timeout": BOUND, "http.idle_timeout": BOUND,
        "http.body_timeout": BOUND, "http.body_limit": BOUND, "http.max_connections": BOUND,
        "oauth.audience": DOCUMENT, "oauth.token_life": DOCUMENT, "oauth.jwks_max_age": DOCUMENT,
        "oauth.leeway": DOCUMENT, "oauth.skew": DOCUMENT, "log.level": DOCUMENT,
    },
    "secrets-agent": {
        "admin.listen": PORT,
        "vault.namespace": "Vault Enterprise has namespaces; regions vault apply uses none",
        "vault.timeout": READS, "vault.longest_retry": READS,
        "auth.approle": OTHER, "auth.jwt": OTHER, "auth.token": OTHER,
        "auth.kubernetes.mount": "where regions vault apply mounts it",
        "kv.mount": READS, "kv.path": READS, "kv.poll": READS, "kv.spacing": READS, "kv.max_size": READS,
        "socket.allow_uids": "the agent's own uid, which is the service's too",
        "files": "the service speaks the socket",
        "log.level": "what happened, as everywhere",
    },
}
# What the agent must be given before it looks at anything else.
NEEDED = {"AGENT__VAULT__ADDRESS": "https://a:1", "AGENT__VAULT__CA_FILE": "/a", "AGENT__AUTH__KUBERNETES__ROLE": "a",
          "AGENT__AUTH__KUBERNETES__JWT_FILE": "/a"}


def allowed(program, prefix, path):
    """The keys below a path, or nothing when it is no table."""
    file = WORK / "empty.toml"
    file.write_text("")
    name = prefix + "__".join([*path, "x"]).upper()
    command = [program, "check-config", "--config", file]
    # Where one of several tables may stand, a name is only looked at when it stands alone.
    alone = prefix + "AUTH__" if path == ("auth",) else " "
    needed = {key: value for key, value in NEEDED.items() if prefix == "AGENT__" and not key.startswith(alone)}
    done = subprocess.run(command, env=needed | {name: "x"}, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2, f"{name}: {done.stdout}{done.stderr}"
    found = UNKNOWN.search(done.stderr)
    return (found[1] or found[2]).split(", ") if found else []


def settings(program, prefix, left, path=()):
    """Every setting, dotted. A table that is left alone as a whole is one."""
    found = []
    for key in allowed(program, prefix, path):
        inner = (*path, key)
        below = [] if ".".join(inner) in left else settings(program, prefix, left, inner)
        found += below or [".".join(inner)]
    return found


def every_one_is_given_or_left(name, program, prefix, given):
    known = settings(program, prefix, LEFT[name])
    assert len(known) > 20, known
    told = {key.removeprefix(prefix).replace("__", ".").lower() for key in given}
    assert told <= set(known), f"the chart gives what {name} does not know: {told - set(known)}"
    assert not told & set(LEFT[name]), f"given, and left to the default: {told & set(LEFT[name])}"
    neither = set(known) - told - set(LEFT[name])
    assert not neither, f"neither given by the chart nor left to its default for a reason: {sorted(neither)}"
    gone = set(LEFT[name]) - set(known)
    assert not gone, f"{name} has no such setting any more: {gone}"


def run(rendered):
    """Asks both programs."""
    objects, _ = next(iter(rendered.values()))
    for name, prefix, pick in [("service", "SERVICE__", manifests.service), ("secrets-agent", "AGENT__", manifests.agent)]:
        title = f"every setting of {name} is given by the chart, or left for a reason"
        if program := programs.newest(name):
            check(title, every_one_is_given_or_left, name, program, prefix, manifests.environment(pick(objects)))
        else:
            skip(title, f"{name} is not built; cargo build --package {name}")
