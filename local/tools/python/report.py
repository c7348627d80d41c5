"""One line for each check, and a count at the end. A check is a call that raises AssertionError or not."""

import os
import sys
import time
import traceback
from pathlib import Path
from xml.sax.saxutils import quoteattr

RESULTS = Path(__file__).resolve().parents[3] / "target" / "test-results"
# (name, seconds, what went wrong or None)
DONE = []
SKIPPED = []


def check(name, test, *arguments):
    """Runs `test`, and says whether it passed. Any exception fails it: a check that cannot run shows nothing."""
    begun, wrong = time.monotonic(), None
    try:
        test(*arguments)
    except AssertionError as error:
        wrong = str(error) or traceback.format_exc()
    except Exception:
        wrong = traceback.format_exc()
    DONE.append((name, time.monotonic() - begun, wrong))
    if wrong is None:
        say(f"ok   {name}")
    else:
        say(f"FAIL {name}\n     " + wrong.rstrip().replace("\n", "\n     "))


def skip(name, reason):
    """Says that a check was not made, and why."""
    SKIPPED.append((name, reason))
    say(f"skip {name}: {reason}")


def say(text):
    """In one piece, since checks may run side by side."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def finish(suite):
    """Leaves the results for CI, and ends the process: 0 when something passed and nothing failed."""
    failed = [name for name, _, wrong in DONE if wrong is not None]
    junit(suite, len(failed))
    skipped = f", {len(SKIPPED)} skipped" if SKIPPED else ""
    print(f"{len(DONE) - len(failed)} passed, {len(failed)} failed{skipped}", flush=True)
    sys.exit(1 if failed or not DONE else 0)


def junit(suite, failures):
    """What CircleCI's store_test_results reads. A folder that cannot be written is no reason to fail."""
    lines = [f"<testsuite name={quoteattr(suite)} tests='{len(DONE) + len(SKIPPED)}' failures='{failures}'>"]
    for name, seconds, wrong in DONE:
        inner = "" if wrong is None else f"<failure message={quoteattr(wrong[:2000])}/>"
        lines.append(f"<testcase classname={quoteattr(suite)} name={quoteattr(name)} time='{seconds:.3f}'>{inner}</testcase>")
    for name, reason in SKIPPED:
        lines.append(f"<testcase classname={quoteattr(suite)} name={quoteattr(name)}><skipped message={quoteattr(reason)}/></testcase>")
    try:
        (RESULTS / suite).mkdir(parents=True, exist_ok=True)
        draft = RESULTS / suite / f".{os.getpid()}"
        draft.write_text("\n".join([*lines, "</testsuite>\n"]))
        draft.replace(RESULTS / suite / "results.xml")
    except OSError as error:
        print(f"the results were not written: {error}", file=sys.stderr)
