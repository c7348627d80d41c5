"""A copy of the modules, the environments and the catalogue in a folder of its own, with a local backend and the
provider of the tests, so that nothing here touches a state, a network or the checkout."""

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

TESTS = Path(__file__).resolve().parent
TERRAFORM = TESTS.parent
CATALOGUE = TERRAFORM.parent / "regions" / "catalogue"
SOURCE = "registry.terraform.io/hashicorp/google"
SCHEMA = next((TESTS / "schema").glob("google-*.json"))
MODULES = sorted(path.name for path in (TERRAFORM / "modules").iterdir() if path.is_dir())
ENVIRONMENTS = sorted(path.name for path in (TERRAFORM / "environments").iterdir() if path.is_dir())
# What is applied before any environment.
FIRST = ["bootstrap", "delivery"]
ROOTS = FIRST + ENVIRONMENTS

# For as long as one command of Terraform may take; all take seconds, where nothing else keeps the machine busy.
PATIENCE = 300


class Workspace:
    """The copy. `folder` is laid out as the checkout is. With `direct`, a folder to keep it in, the provider is the real
    one, as its registry has it."""

    def __init__(self, folder, direct=None):
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)
        copied = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfplan")
        for name in ("modules", "environments", *FIRST):
            shutil.copytree(TERRAFORM / name, self.folder / "terraform" / name, ignore=copied)
        shutil.copy(TERRAFORM / "platform.yaml", self.folder / "terraform")
        for name in ("catalogue", "schema"):
            shutil.copytree(CATALOGUE.parent / name, self.folder / "regions" / name)
        for name in ROOTS:
            override = self.root(name) / "backend_override.tf"
            override.write_text('terraform {\n  backend "local" {}\n}\n')
        self.configuration = self.folder / "terraform.tfrc"
        if direct:
            direct.mkdir(parents=True, exist_ok=True)
            # No lock file is committed: versions are exact, and Terraform checks the provider's signature.
            self.configuration.write_text(
                f"plugin_cache_dir = {json.dumps(str(direct))}\nplugin_cache_may_break_dependency_lock_file = true\n")
        else:
            mirror = json.dumps(os.environ["PROVIDER_MIRROR"])
            self.configuration.write_text(f"provider_installation {{\n  filesystem_mirror {{\n    path = {mirror}\n  }}\n}}\n")

    def module(self, name):
        return self.folder / "terraform" / "modules" / name

    def environment(self, name):
        return self.folder / "terraform" / "environments" / name

    def root(self, name):
        return self.folder / "terraform" / name if name in FIRST else self.environment(name)

    def catalogue(self, environment):
        return self.folder / "regions" / "catalogue" / environment

    def terraform(self, folder, *arguments):
        """Runs Terraform in `folder`, which is initialised before; gives its exit code, output and errors."""
        if arguments[0] != "init" and not (folder / ".terraform").exists():
            self.init(folder)
        environment = {
            name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ
        } | {
            "CHECKPOINT_DISABLE": "1",
            "PROVIDER_SCHEMA": str(SCHEMA),
            "TF_CLI_CONFIG_FILE": str(self.configuration),
            "TF_IN_AUTOMATION": "1",
            # A registry that does not answer is told of soon.
            "TF_REGISTRY_CLIENT_TIMEOUT": "10",
            "TF_REGISTRY_DISCOVERY_RETRY": "1",
        }
        return subprocess.run(
            [os.environ["TERRAFORM"], f"-chdir={folder}", *arguments],
            env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def done(self, folder, *arguments):
        """Runs Terraform, which must succeed; gives its output."""
        ran = self.terraform(folder, *arguments)
        assert ran.returncode == 0, f"terraform {' '.join(arguments)} in {folder.name}:\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def init(self, folder):
        self.done(folder, "init", "-input=false", "-no-color")

    def plan(self, folder, *arguments):
        """The plan, as `terraform show -json` gives it."""
        self.done(folder, "plan", "-input=false", "-no-color", "-lock=false", "-out=made.tfplan", *arguments)
        return json.loads(self.done(folder, "show", "-json", "made.tfplan"))

    def errors(self, folder, command="plan"):
        """What Terraform says is wrong, each as summary and detail. Nothing when it succeeds."""
        if command == "validate":
            said = json.loads(self.terraform(folder, "validate", "-json").stdout)["diagnostics"]
        else:
            lines = self.terraform(folder, command, "-json", "-input=false", "-lock=false").stdout.splitlines()
            said = [line["diagnostic"] for line in map(json.loads, lines) if "diagnostic" in line]
        return [f"{one['summary']}: {one.get('detail', '')}" for one in said if one["severity"] == "error"]

    @contextlib.contextmanager
    def edited(self, folder, edits):
        """With files of `folder` written, or taken away where an edit is None; as before afterwards."""
        before = {name: (folder / name).read_text() if (folder / name).exists() else None for name in edits}
        try:
            self._write(folder, edits)
            yield
        finally:
            self._write(folder, before)

    @staticmethod
    def _write(folder, files):
        for name, text in files.items():
            path = folder / name
            if text is None:
                path.unlink(missing_ok=True)
            else:
                path.write_text(text)


def resources(plan):
    """Address → the values that the plan knows, without what is empty."""
    return {
        change["address"]: known(change["change"]["after"])
        for change in plan.get("resource_changes", []) if change["mode"] == "managed"
    }


def actions(plan):
    """Address → what the plan does: "no-op", "create", "update", "delete" or "delete, create"."""
    return {change["address"]: ", ".join(change["change"]["actions"]) for change in plan.get("resource_changes", [])}


def known(value):
    """`value` without nulls and empty collections, at any depth."""
    if isinstance(value, dict):
        kept = {name: known(inner) for name, inner in value.items()}
        return {name: inner for name, inner in kept.items() if inner not in (None, {}, [])}
    if isinstance(value, list):
        return [known(inner) for inner in value]
    return value


def newest(program):
    """One of our own programs as it was built last, or None."""
    folders = [TERRAFORM.parent / "target" / kind for kind in ("debug", "release")]
    built = [folder / program for folder in folders if (folder / program).is_file()]
    return max(built, key=lambda file: file.stat().st_mtime, default=None)
