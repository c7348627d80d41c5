"""What must hold of modules and environments. Each part's checks stand in a file of their own."""

import sys
import tempfile

import report

import access
import agreement
import broken
import documents
import plans
import policy
import restore
import schemas
from workspace import MODULES, ROOTS, Workspace, newest


def main():
    wanted = sys.argv[1:]

    def check(name, test, *arguments):
        if not wanted or any(part in name for part in wanted):
            report.check(name, test, *arguments)

    def skip(name, reason):
        if not wanted or any(part in name for part in wanted):
            report.skip(name, reason)

    with tempfile.TemporaryDirectory(prefix="meridian-terraform-") as folder:
        space = Workspace(folder)
        documents.checks(check, space)
        schemas.generated(check, skip)
        for name in MODULES:
            report.check(f"module {name}: init and validate", valid, space, space.module(name))
            check(f"module {name}: terraform test", tested, space, space.module(name))
            check(f"module {name}: the README's example plans", documents.example, space, name)
        for name in ROOTS:
            report.check(f"{name}: init and validate", valid, space, space.root(name))
        schemas.checks(check, space)
        plans.checks(check, space)
        agreement.checks(check, space)
        access.checks(check, skip, space, newest("regions"))
        broken.checks(check, skip, space, newest("regions"))
        policy.checks(check, space)
        restore.checks(check, skip, newest("regions"))
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
