"""One line for each check, and a count at the end. A check is a call that raises AssertionError or not."""

import sys
import traceback

PASSED, FAILED, SKIPPED = [], [], []


def check(name, test, *arguments):
    """Runs `test`, and says whether it passed. Any exception fails it: a check that cannot run shows nothing."""
    try:
        test(*arguments)
    except AssertionError as error:
        FAILED.append(name)
        print(f"FAIL {name}\n     " + str(error).replace("\n", "\n     "), flush=True)
    except Exception:
        FAILED.append(name)
        print(f"FAIL {name}\n     " + traceback.format_exc().replace("\n", "\n     "), flush=True)
    else:
        PASSED.append(name)
        print(f"ok   {name}", flush=True)


def skip(name, reason):
    """Says that a check was not made, and why."""
    SKIPPED.append(name)
    print(f"skip {name}: {reason}", flush=True)


def finish():
    """Ends the process: 0 when something passed and nothing failed."""
    skipped = f", {len(SKIPPED)} skipped" if SKIPPED else ""
    print(f"{len(PASSED)} passed, {len(FAILED)} failed{skipped}", flush=True)
    sys.exit(1 if FAILED or not PASSED else 0)
