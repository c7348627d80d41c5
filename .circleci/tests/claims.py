"""SECURITY.md: each claim names a test, and each test that is named exists."""

import re

import config
from report import check

FILE = config.ROOT / "SECURITY.md"
COLUMN = "shown by"
NAMED = re.compile(r"`([\w./-]+\.(?:rs|py))::(\w+)`|`make ([a-z-]+)`")
# A claim that no test can show says so.
UNSHOWN = "out of scope, see below"


def tables(text):
    """(header, rows) of each table, as lists of cells."""
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()]
        yield lines[0], lines[2:]


def wrong(text, read, targets):
    """What is wrong with the claims of a text."""
    found, claims = [], 0
    for header, rows in tables(text):
        if COLUMN not in header:
            continue
        for row in rows:
            claims += 1
            shown = row[-1] if len(row) == len(header) else ""
            if shown == UNSHOWN:
                continue
            named = NAMED.findall(shown)
            if not named or NAMED.sub("", shown).strip():
                found.append(f"{row[0]}, {row[1] if len(row) > 1 else ''}: no test shows it: {shown}")
            for file, test, target in named:
                if target:
                    if target not in targets:
                        found.append(f"the Makefile has no {target}")
                elif not defines(read(file), file, test):
                    found.append(f"{file} has no test {test}")
    if claims < 30:
        found.append(f"only {claims} claims were read")
    return found


def defines(text, file, test):
    """Whether a file defines a test. In Rust a test is marked as one; in Python the runner is given it, uncalled."""
    if text is None:
        return False
    if file.endswith(".py"):
        defined = re.search(rf"^def {test}\(", text, re.MULTILINE)
        return bool(defined and re.search(rf"[(\[,]\s*{test}\s*[,)\]]", text))
    place = re.search(rf"((?:^[ \t]*(?:#\[.*\]|//.*)\n)*)^[ \t]*(?:async )?fn {test}\(", text, re.MULTILINE)
    if place:
        return re.search(r"#\[(tokio::)?test\b", place[1]) is not None
    # One that a macro makes of a list.
    return re.search(rf"^[ \t]*{test}\b.*(=>|:)", text, re.MULTILINE) is not None


def read(file):
    path = config.ROOT / file
    return path.read_text() if path.is_file() else None


def each_claim_names_a_test_that_exists():
    found = wrong(FILE.read_text(), read, config.make_targets())
    assert not found, "\n".join(found)


def a_claim_without_its_test_is_noticed():
    """Each test that is named is taken away in turn."""
    text, targets = FILE.read_text(), config.make_targets()
    named = [one for header, rows in tables(text) if COLUMN in header for row in rows for one in NAMED.findall(row[-1])]
    for file, test, target in named:
        without = text.replace(f"`{file}::{test}`", f"`{file}::{test}_x`") if file else text.replace(f"`make {target}`", "`make x`")
        assert wrong(without, read, targets), f"{file} {test} {target}"
        if file:
            gone = re.sub(rf"\b{test}\b", "gone", read(file))
            assert not defines(gone, file, test), f"{file} {test}"
            unused = re.sub(rf"(?<!def )(?<!fn )\b{test}\b", "gone", read(file))
            assert file.endswith(".rs") or not defines(unused, file, test), f"{file} {test}"
    emptied = re.sub(r"\| `[^|]*\|$", "| |", text, count=1, flags=re.MULTILINE)
    assert emptied != text and wrong(emptied, read, targets)


def run():
    check("SECURITY.md: each claim names a test that exists", each_claim_names_a_test_that_exists)
    check("SECURITY.md: a claim without its test is noticed", a_claim_without_its_test_is_noticed)
