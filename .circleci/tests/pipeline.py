"""The tests of the pipeline. Run them with .circleci/tests/run."""

import json
import re
import subprocess
import sys
from pathlib import Path

import claims
import config
import docs
import google_login
import mutants
import rehearsal
import releases
import rules
import yaml
from report import check, finish, skip

BIN = Path(sys.executable).parent
TEXT = config.FILE.read_text()
READ = config.read(TEXT)
# What only people read may be worded otherwise, and the order in which stages are listed means nothing.
SAME = re.compile(r"^(jobs|commands|parameters)\..*\b(name|description) (changed|removed)$|^workflows\.\w+\.jobs\.\d+ swapped")
# Of all broken pipelines, so many must be noticed.
CAUGHT = 0.99


def schema_holds(text=TEXT):
    done = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.circle-ci", "--default-filetype", "yaml", "-"],
        input=text, capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def schema_refuses_a_misspelt_key():
    try:
        schema_holds(TEXT.replace("    executor: builder", "    executorr: builder", 1))
    except AssertionError:
        return
    raise AssertionError("the schema took a misspelt key")


def what_renovate_reads_holds():
    """Its schema, and that each of its own patterns finds what it is to move."""
    done = subprocess.run([BIN / "check-jsonschema", "--builtin-schema", "vendor.renovate", config.ROOT / "renovate.json"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    read = json.loads((config.ROOT / "renovate.json").read_text())
    tracked = config.git(config.ROOT, "ls-files").splitlines()
    for manager in read["customManagers"]:
        files = [file for file in tracked for pattern in manager["managerFilePatterns"] if re.search(pattern.strip("/"), file)]
        assert files, f"{manager['description']}: no file"
        for pattern in manager["matchStrings"]:
            found = [re.search(pattern.replace("(?<", "(?P<"), (config.ROOT / file).read_text()) for file in files]
            assert all(found), f"{manager['description']}: {pattern} is not in {files}"


def yaml_is_tidy():
    rule = "{extends: default, rules: {line-length: disable, document-start: disable}}"
    done = subprocess.run([BIN / "yamllint", "--strict", "-d", rule, config.FILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def a_key_that_stands_twice_is_seen():
    try:
        config.read(TEXT.replace("    executor: builder", "    executor: builder\n    executor: builder", 1))
    except yaml.YAMLError:
        return
    raise AssertionError("a key that stands twice was taken")


def mutants_are_caught():
    for rule in rules.RULES:
        rule(READ)
    survivors, count = [], 0
    for name, mutant in mutants.all_of(READ):
        if mutant == READ or SAME.search(name):
            continue
        count += 1
        for rule in rules.RULES:
            try:
                rule(mutant)
            except Exception:
                break
        else:
            survivors.append(name)
    print(f"     {count} broken pipelines, {len(survivors)} not noticed" + "".join(f"\n     not noticed: {one}" for one in survivors))
    assert count > 2000 and 1 - len(survivors) / count >= CAUGHT, f"{len(survivors)} of {count}"


def regions_has_the_verbs_and_flags():
    """What .circleci/bin/operate gives `regions` stands in the help of each verb."""
    program = config.regions_program()
    helped = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=20).stdout
    verbs = set(re.findall(r"^  ([a-z-]+) ", helped.split("Commands:")[1].split("Options:")[0], re.MULTILINE))
    text = (config.ROOT / ".circleci/bin/operate").read_text()
    used = {tuple(re.findall(r'"(--[a-z-]+)"', line)): re.search(r'return \["([a-z]+)"', line) for line in text.splitlines()}
    flags = {}
    for given, verb in used.items():
        if verb:
            flags.setdefault(verb[1], set()).update(given)
    assert set(flags) == {"promote", "rollback", "rotate"}, flags
    for verb in ("drain", "restore"):
        flags[verb] = {"--yes", "--why"}
    for verb in ("promote", "rollback", "drain", "restore"):
        flags[verb] |= {"--why"}
    for verb in ("promote", "rollback", "restore", "rotate"):
        flags[verb] |= {"--vault-jwt-file", "--vault-ca"}
    for verb, given in sorted(flags.items()):
        assert verb in verbs, f"regions has no {verb}"
        told = subprocess.run([program, verb, "--help"], capture_output=True, text=True, timeout=20).stdout
        missing = {flag for flag in given if flag not in told}
        assert not missing, f"regions {verb} has no {missing}"


def of_the_configuration():
    check("config.yml holds to CircleCI's schema", schema_holds)
    check("the schema refuses a misspelt key", schema_refuses_a_misspelt_key)
    check("config.yml is tidy", yaml_is_tidy)
    check("what Renovate reads holds", what_renovate_reads_holds)
    check("a key that stands twice is seen", a_key_that_stands_twice_is_seen)
    for rule in rules.RULES:
        check(rule.__name__.replace("_", " "), rule, READ)
    check("every broken pipeline is noticed", mutants_are_caught)
    title = "regions has the verbs and flags that are used"
    if config.regions_program():
        check(title, regions_has_the_verbs_and_flags)
    else:
        skip(title, "regions is not built; cargo build --package regions")


PARTS = {
    "configuration": of_the_configuration, "claims": claims.run, "docs": docs.run, "google": google_login.run,
    "rehearsal": rehearsal.run, "releases": releases.run,
}
wanted = sys.argv[1:] or list(PARTS)
for part in wanted:
    if part not in PARTS:
        sys.exit(f"usage: .circleci/tests/run [{' | '.join(PARTS)}]")
    PARTS[part]()
finish("pipeline" if wanted == list(PARTS) else f"pipeline-{'-'.join(wanted)}")
