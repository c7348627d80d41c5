"""The same modules and roots with the real provider, where it can be had: in CircleCI, and on any machine with a way out.
Nothing of Google is called: it validates, and tests with its own schema beneath mocks."""

import os
import subprocess
import tempfile
from pathlib import Path

from workspace import MODULES, ROOTS, Workspace

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meridian" / "terraform-plugins"


def checks(check, skip):
    with tempfile.TemporaryDirectory(prefix="meridian-terraform-real-") as folder:
        space = Workspace(folder, direct=CACHE)
        title = "real provider: it is to be had"
        try:
            ran = space.terraform(space.module("network"), "init", "-input=false", "-no-color")
        except subprocess.TimeoutExpired:
            skip(title, "its registry did not answer in time")
            return
        if ran.returncode:
            lines = [line.strip(" │") for line in ran.stderr.splitlines() if "could not" in line.lower() or "failed to" in line.lower()]
            if not any("connect" in line or "query" in line or "request" in line for line in lines):
                check(title, initialised, ran)
            else:
                skip(title, f"its registry is not reached from here ({'; '.join(lines)[:160]})")
            return
        for name in MODULES:
            check(f"real provider: module {name} is valid, and tested", valid, space, space.module(name))
        for name in ROOTS:
            check(f"real provider: {name} is valid, and tested", valid, space, space.root(name))


def initialised(ran):
    raise AssertionError(ran.stdout + ran.stderr)


def valid(space, folder):
    space.init(folder)
    errors = space.errors(folder, "validate")
    assert not errors, "\n".join(errors)
    said = space.done(folder, "test", "-no-color")
    assert "Success!" in said, said
