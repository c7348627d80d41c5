"""The tests of the pipeline. Run them with .circleci/tests/run."""

import re
import subprocess
import sys
from pathlib import Path

import config
import google_login
import mutants
import releases
import rules
import yaml
from report import check, finish, skip

BIN = Path(sys.executable).parent
TEXT = config.FILE.read_text()
READ = config.read(TEXT)
# What only people read may be worded otherwise, and the order in which stages are listed means nothing.
SAME = re.compile(r"^(jobs|commands)\..*\.(name|description) (changed|removed)$|^workflows\.release\.jobs\.\d swapped")


def schema_holds(text=TEXT):
    done = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.circle-ci", "--default-filetype", "yaml", "-"],
        input=text, capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def schema_refuses_a_misspelt_key():
    try:
        schema_holds(TEXT.replace("    executor: linux", "    executorr: linux", 1))
    except AssertionError:
        return
    raise AssertionError("the schema took a misspelt key")


def yaml_is_tidy():
    rule = "{extends: default, rules: {line-length: disable, document-start: disable}}"
    done = subprocess.run([BIN / "yamllint", "--strict", "-d", rule, config.FILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def a_key_that_stands_twice_is_seen():
    try:
        config.read(TEXT.replace("    executor: linux", "    executor: linux\n    executor: linux", 1))
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
    print(f"     {count} broken pipelines, {len(survivors)} not noticed")
    assert not survivors, "\n".join(survivors)


def regions_has_the_verbs():
    program = releases.regions_program()
    used = {c.split()[1] for s in config.stages(READ) for c in config.commands(READ, s) if c.startswith("regions ")}
    helped = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=20).stdout
    missing = [verb for verb in used if not re.search(rf"^ +{verb}\b", helped, re.MULTILINE)]
    assert not missing, f"regions has no {missing}"
    # What `make promote` gives it.
    script = (config.ROOT / "local/images/promote").read_text()
    helped = subprocess.run([program, "promote", "--help"], capture_output=True, text=True, timeout=20).stdout
    flags = set(re.findall(r"(?<=[ +])--[a-z-]+", script.split("\nset -- ")[1]))
    assert len(flags) == 7 and all(flag in helped for flag in flags), f"{flags} are not all in:\n{helped}"


check("config.yml holds to CircleCI's schema", schema_holds)
check("the schema refuses a misspelt key", schema_refuses_a_misspelt_key)
check("config.yml is tidy", yaml_is_tidy)
check("a key that stands twice is seen", a_key_that_stands_twice_is_seen)
for rule in rules.RULES:
    check(rule.__name__.replace("_", " "), rule, READ)
check("every broken pipeline is noticed", mutants_are_caught)
TITLE = "regions has the verbs and flags that are used"
if releases.regions_program():
    check(TITLE, regions_has_the_verbs)
else:
    skip(TITLE, "regions is not built; cargo build --package regions")
google_login.run()
releases.run()
finish("pipeline")
