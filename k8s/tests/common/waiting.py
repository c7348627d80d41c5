"""Waits for a named condition."""

import time


def until(what, condition, seconds):
    """Gives the first true value of `condition`. An exception counts as not yet, and is told at the end."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            if found := condition():
                return found
            last = "it is not so"
        except Exception as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s; the last answer: {last}")
