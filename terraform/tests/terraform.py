"""What must hold of modules, roots and runbooks. Each part's checks stand in a file of their own; parts that share no
folder run side by side."""

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import report

import access
import agreement
import broken
import costs
import documents
import plans
import policy
import real
import restore
import schemas
from workspace import MODULES, ROOTS, Workspace, newest

WANTED = sys.argv[1:]


def wanted(name):
    return not WANTED or any(part in name for part in WANTED)


def begun(part):
    """Whether to begin a part whose servers take a while: when its name, or a check of it by its full name, is wanted."""
    return not WANTED or any(one.split(":")[0] == part for one in WANTED)


def check(name, test, *arguments):
    if wanted(name):
        report.check(name, test, *arguments)


def skip(name, reason):
    if wanted(name):
        report.skip(name, reason)


def modules(space):
    documents.checks(check, space)
    schemas.generated(check, skip)
    for name in MODULES:
        check(f"module {name}: init and validate", valid, space, space.module(name))
        check(f"module {name}: terraform test", tested, space, space.module(name))
        check(f"module {name}: the README's example plans", documents.example, space, name)
    schemas.checks(check, space)


def roots(space):
    for name in ROOTS:
        check(f"{name}: init and validate", valid, space, space.root(name))
        check(f"{name}: terraform test", tested, space, space.root(name))
    plans.checks(check, space)
    costs.checks(check, space)
    agreement.checks(check, space)
    if begun("access"):
        access.checks(check, skip, space, newest("regions"))


def catalogues(space):
    broken.checks(check, skip, space, newest("regions"))


def policies(space):
    policy.checks(check, space)


def others(_):
    if begun("runbook"):
        restore.checks(check, skip, newest("regions"))
    if begun("real provider"):
        real.checks(check, skip)


def main():
    parts = [roots, modules, catalogues, policies, others]
    with tempfile.TemporaryDirectory(prefix="meridian-terraform-") as folder, ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        running = [pool.submit(part, Workspace(os.path.join(folder, part.__name__))) for part in parts]
        for one in running:
            one.result()
    report.finish("terraform")


def valid(space, folder):
    space.init(folder)
    errors = space.errors(folder, "validate")
    assert not errors, "\n".join(errors)


def tested(space, folder):
    files = sorted((folder / "tests").glob("*.tftest.hcl"))
    assert files, f"{folder.name} has no tests"
    said = space.done(folder, "test", "-no-color")
    wanted = sum(path.read_text().count('\nrun "') for path in files)
    assert f"Success! {wanted} passed, 0 failed." in said, said


if __name__ == "__main__":
    main()
