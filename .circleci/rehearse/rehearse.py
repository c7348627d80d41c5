"""The pipeline, rehearsed: the very config.yml, its jobs in their order, their own commands, on regions of this machine.

Four commits go through it, in a clone of this checkout: the first release, before which nothing runs; one that is good,
which ends in every region of production; one that never becomes ready, which qa stops; one that breaks in production
alone, which its first wave stops. From the second on, all regions are under load, and no request may be lost.

Each job logs in to the regions' Vaults by a token of its own, of the shape of CircleCI's; those of another branch,
project, context and of a rerun with SSH are refused. Two commands of the jobs speak to Google Cloud, where nothing of this
machine is: they are not run, and it is said. The registry needs no login here, and clusters are reached by the kubeconfig
of local-region. Jobs named in PASS_OVER (default: check test) are passed over; PASS_OVER= runs them too. NODES nodes for
each region (1), KEEP=1 leaves it all up. CHECKOUT names a folder for the clone that stays, so that the next rehearsal
compiles only what has changed.
"""

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
from pathlib import Path

import config
import rules
import schedule
from issuer import Issuer, vaults

ROOT = config.ROOT
LOCAL_REGION = ROOT / "target/debug/local-region"
REGIONS = ROOT / "target/debug/regions"
# What only Google Cloud can answer, and what holds it instead.
ELSEWHERE = {
    "registry-login": "the registry of this machine asks for no login; .circleci/tests/run google shows the exchange",
    "credentials": "the kubeconfig is local-region's; .circleci/tests/run google shows the exchange",
    "advisories": "the RustSec database is not asked; .circleci/tests/run releases plants an advisory of its own",
}
# Commits after the first: what their pods are asked for whether they are ready, and where; and the job that ends the
# workflow for it.
LATER = {
    "a good release": ('"/readyz?again"', None, None),
    "a release that is never ready": ("/no-such-path", None, "promote-qa"),
    "a release that breaks in production alone": ("/no-such-path", "production", "promote-production"),
}
PROBE = re.compile(r"(readinessProbe:\n\s+httpGet: \{ path: )(/readyz)(?=, port: admin)")
# What a promotion says at its end of where its time went.
OWN = re.compile(r"([\d.]+) s of its own$", re.MULTILINE)


def say(text):
    print(f"rehearse: {text}", file=sys.stderr, flush=True)


def shown(command, folder, environment):
    """Runs a command whose output is shown as it comes; gives its exit code and its standard output."""
    lines = []
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return process.returncode, "".join(lines)


class Failed(Exception):
    """What went otherwise than a pipeline should."""


def checked():
    """The configuration, held to every rule before anything runs."""
    read = config.read(config.FILE.read_text())
    for rule in rules.RULES:
        rule(read)
    return read


def probing(template, path, where):
    """A template whose readiness probe asks for a path, everywhere or in one environment; and how many it has."""
    if where:
        path = '{{ if eq .Values.environment "' + where + '" }}' + path + "{{ else }}/readyz{{ end }}"
    return PROBE.subn(lambda match: match[1] + path, template)


class Place:
    """An environment of this machine."""

    def __init__(self, name):
        self.name = name
        done = subprocess.run([LOCAL_REGION, "status", name, "--output", "json"], capture_output=True, text=True, check=False)
        self.state = json.loads(done.stdout) if done.returncode == 0 else None

    def up(self, nodes):
        if self.state is None:
            say(f"{self.name} comes up")
            subprocess.run([LOCAL_REGION, "up", self.name, "--nodes", nodes], check=True)
            self.__init__(self.name)

    def variables(self, issuer):
        """What a job's context and login give it in CircleCI."""
        said = subprocess.run([LOCAL_REGION, "status", self.name], capture_output=True, text=True, check=True).stdout
        found = dict(re.findall(r"^export (\w+)=(\S+)", said, re.MULTILINE))
        found |= {name: Path(found.pop(file)).read_text() for name, file in (("VAULT_CA", "VAULT_CACERT"), ("PUBLIC_CA", "PUBLIC_CA"))}
        # The environment before is asked what it has run healthily.
        names = config.environments()
        if (place := names.index(self.name)) > 0:
            found["KUBECONFIG"] += f":{Place(names[place - 1]).state['kubeconfig']}"
        return found | {"CIRCLE_OIDC_TOKEN_V2": issuer.token(self.name)}

    def trust(self, issuer, kubectl):
        """Lets the environment's jobs log in to its Vaults, and nobody else's."""
        strangers = issuer.strangers(self.name)
        for region in self.state["regions"]:
            root, nobody = vaults(region, kubectl, self.state["kubeconfig"])
            issuer.trusted_by(root, self.name)
            nobody.call("POST", "auth/jwt/login", {"role": "promoter", "jwt": issuer.token(self.name)})
            for whose, token in strangers.items():
                try:
                    nobody.call("POST", "auth/jwt/login", {"role": "promoter", "jwt": token})
                except urllib.error.HTTPError as refused:
                    if refused.code == 400:
                        continue
                    raise
                raise Failed(f"the Vault of {self.name}/{region['name']} took a token of {whose}")
            say(f"{self.name}/{region['name']}: its Vault takes its jobs' tokens, and none of {', '.join(strangers)}")


class Load:
    """Requests to every region of an environment, for as long as a commit goes through the pipeline."""

    def __init__(self, place):
        self.name = place.name
        self.log = tempfile.NamedTemporaryFile("w+")
        self.process = subprocess.Popen([LOCAL_REGION, "check", place.name, "--until-stopped"], stdout=self.log, stderr=self.log)

    def end(self):
        """What it saw. A request that was lost, or a token that did not verify, fails it."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.log.seek(0)
        said = self.log.read().strip()
        if code:
            raise Failed(f"load on {self.name}: {said}")
        return said


class Rehearsal:
    def __init__(self, read, folder):
        self.read, self.folder, self.times, self.own = read, folder, [], []
        self.passed_over = os.environ.get("PASS_OVER", "check test").split()
        self.places = {name: Place(name) for name in config.environments()}
        self.issuer = Issuer(folder, self.places)
        self.kubectl = subprocess.run([LOCAL_REGION, "tools", "kubectl"], check=True, capture_output=True, text=True).stdout.strip()
        # A key of this rehearsal alone; the private one goes with its folder.
        self.key = folder / "signer.pem"
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key], check=True, capture_output=True)
        der = subprocess.run(["openssl", "ec", "-in", self.key, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
        public = base64.b64encode(der).decode()
        # The catalogue of this machine, which asks for that signature in every environment.
        self.catalogue = folder / "local/catalogue"
        shutil.copytree(ROOT / "local/catalogue", self.catalogue)
        shutil.copytree(ROOT / "regions/schema", folder / "regions/schema")
        for file in self.catalogue.glob("*/_environment.yaml"):
            file.write_text(file.read_text().replace("defaults:\n", f"signers:\n  - {public}\ndefaults:\n", 1))

    def clone(self):
        """A clean clone of this checkout's commit; of one that was kept, what was built stays."""
        checkout = Path(os.environ.get("CHECKOUT") or self.folder / "checkout").absolute()
        if not checkout.exists():
            subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True)
        head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
        subprocess.run(["git", "-C", checkout, "fetch", "--quiet", "origin", head], check=True)
        self.start = head
        self.back(checkout)
        return checkout

    def back(self, checkout):
        """Takes the clone back to this checkout's commit."""
        subprocess.run(["git", "-C", checkout, "reset", "--quiet", "--hard", self.start], check=True)

    def commit(self, checkout, message, path, where):
        """Changes in the chart what the service is asked for whether it is ready, everywhere or in one environment."""
        changed = 0
        for file in sorted((checkout / "k8s/chart/templates").iterdir()):
            broken, count = probing(file.read_text(), path, where)
            changed += count
            file.write_text(broken)
        if changed != 1:
            raise Failed("the chart has no readinessProbe of the form that a commit changes; mend PROBE in rehearse.py")
        identity = ["-c", "user.name=rehearsal", "-c", "user.email=rehearsal@example.com"]
        subprocess.run(["git", "-C", checkout, *identity, "commit", "--quiet", "--all", "--message", message], check=True)

    def act(self, checkout, title):
        def one(stage, commands):
            if stage.approval:
                say(f"{title}: {stage.name}: approved, as a person would who has seen staging")
                return "success"
            if stage.name in self.passed_over:
                say(f"{title}: {stage.name}: passed over (PASS_OVER)")
                return "success"
            place = self.places[stage.environment() or config.environments()[0]]
            variables = place.variables(self.issuer) | {
                "CATALOGUE": str(self.catalogue), "REGIONS": str(REGIONS), "SIGNING_KEY": str(self.key), "WHY": f"rehearsal: {title}",
            }
            began, own = time.monotonic(), 0.0
            for command in commands:
                target = command.split()[1]
                if target in ELSEWHERE:
                    say(f"{title}: {stage.name}: {command}: not here: {ELSEWHERE[target]}")
                    continue
                say(f"{title}: {stage.name}: {command}")
                start = time.monotonic()
                code, said = shown(command.split(), checkout, self.environment(variables))
                own += time.monotonic() - start
                self.own.extend((title, float(seconds)) for seconds in OWN.findall(said))
                if code:
                    self.times.append((title, stage.name, time.monotonic() - began, own, f"failed with {code}"))
                    return "failed"
            self.times.append((title, stage.name, time.monotonic() - began, own, "success"))
            return "success"
        return one

    @staticmethod
    def environment(variables):
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TERM", "XDG_CACHE_HOME", "CARGO_HOME", "RUSTUP_HOME", "LANG") if name in os.environ}
        return kept | variables

    def through(self, checkout, title, ends_at=None):
        """One commit through the workflow; `ends_at` names the job that must fail."""
        stages = config.stages(self.read)
        ended = schedule.play(self.read, stages, self.act(checkout, title))
        wrong = []
        for stage in stages:
            if ends_at is None:
                wanted = "not_run" if stage.kind == "settle" else "success"
            elif stage.name == ends_at:
                wanted = "failed"
            elif ends_at in stage.requires:
                wanted = "success" if stage.kind == "settle" else "not_run"
            else:
                wanted = ended[stage.name]
            if ended[stage.name] != wanted:
                wrong.append(f"{stage.name} ended {ended[stage.name]}, not {wanted}")
        if ends_at and any(ended[stage.name] == "success" for stage in stages
                           if stage.kind == "promote" and ends_at in config.before(stage.name, stages)):
            wrong.append(f"a promotion went on after {ends_at} had failed")
        if wrong:
            raise Failed(f"{title}: " + "; ".join(wrong))
        say(f"{title}: as it should" + (f": stopped by {ends_at}, and settled" if ends_at else ": in every region"))

    def releases(self):
        """What each region runs, by its digest."""
        found = {}
        for name, place in self.places.items():
            done = subprocess.run([REGIONS, "--catalogue", self.catalogue, "status", "--env", name, "--output", "json"],
                                  env=self.environment(place.variables(self.issuer)), capture_output=True, text=True, check=False)
            said = json.loads(done.stdout)["regions"] if done.returncode == 0 else []
            found[name] = sorted({region["found"]["release"]["digest"] for region in said})
        return found

    def one_release(self):
        """What each region runs, which must be one release everywhere."""
        found = self.releases()
        if any(len(digests) != 1 for digests in found.values()) or len({one for digests in found.values() for one in digests}) != 1:
            raise Failed(f"not every region runs the one release: {found}")
        return found

    def run(self):
        for place in self.places.values():
            place.up(os.environ.get("NODES", "1"))
            place.trust(self.issuer, self.kubectl)
        checkout = self.clone()
        self.through(checkout, "the first release")
        good = self.one_release()
        for title, (path, where, ends_at) in LATER.items():
            before = good
            self.back(checkout)
            self.commit(checkout, title, path, where)
            loads = [Load(place) for place in self.places.values()]
            try:
                self.through(checkout, title, ends_at)
            finally:
                said = [load.end() for load in loads]
            for load, figures in zip(loads, said):
                say(f"{title}: {load.name}: {figures}")
            if ends_at is None:
                good = self.one_release()
                if good == before:
                    raise Failed(f"{title}: what ran before still runs")
                continue
            runs = self.releases()
            if runs["production"] != good["production"] or (where is None and runs != good):
                raise Failed(f"{title}: something else runs than before: {runs}")

    def table(self):
        print(f"\n{'commit':<44} {'job':<22} {'s':>7}  end")
        for title, job, whole, own, end in self.times:
            print(f"{title:<44} {job:<22} {whole:>7.1f}  {end}  (its own commands {own:.1f} s)")
        # Those that were stopped have no such share: they did not come to their end.
        for title in dict.fromkeys(title for title, _ in self.own):
            own = [seconds for one, seconds in self.own if one == title]
            print(f"{title}: {len(own)} promotions took {sum(own):.1f} s of their own, beside bakes and the start of pods")


def listed(read):
    """What would run, in which order."""
    for stage in schedule.order(config.stages(read)):
        what = ["(a person)"] if stage.approval else schedule.commands(read, stage)
        after = ", ".join(f"{name} {how if isinstance(how, str) else ' or '.join(how)}" for name, how in stage.ends.items())
        print(f"{stage.name:<20} after {after or 'nothing':<40} {'; '.join(what)}")


def main(arguments):
    read = checked()
    say(f"config.yml holds to its {len(rules.RULES)} rules")
    if arguments == ["--list"]:
        listed(read)
        return 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        say("regions of this machine need root; --list says what would run")
        return 2
    subprocess.run(["cargo", "build", "--quiet", "--workspace", "--bin", "local-region", "--bin", "regions"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory(prefix="meridian-rehearsal.") as folder:
        rehearsal = Rehearsal(read, Path(folder))
        try:
            rehearsal.run()
        except (Failed, subprocess.CalledProcessError) as failed:
            say(f"FAILED: {failed}")
            return 1
        finally:
            rehearsal.table()
            if os.environ.get("KEEP") != "1":
                for name in rehearsal.places:
                    with contextlib.suppress(OSError):
                        subprocess.run([LOCAL_REGION, "down", name], check=False)
    print("rehearse: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
