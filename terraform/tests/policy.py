"""checkov on the plans, where every value from the catalogue is known; all of its checks but those that .checkov.yaml
skips, each with a reason and a date."""

import json
import re
import subprocess
import sys
from pathlib import Path

import report

from workspace import ROOTS, TERRAFORM, resources

CONFIGURATION = TERRAFORM / ".checkov.yaml"
# A skip as it must be written: the reason, when it was last thought about, and the check.
SKIP = re.compile(r"^  # (.{20,}) \(\d{4}-\d{2}-\d{2}\)\n  - (CKV2?_[A-Z]+_\d+)$", re.MULTILINE)
# What it has checks for.
LOOKED = re.compile(r"google_(container_(cluster|node_pool)|storage_bucket|dns_managed_zone|compute_firewall)\.")
FOUND, MADE_WRONG = [], "made-wrong"
# An edit of a copied module, and the check that must notice it.
NOTICED = ("region/main.tf", "enable_legacy_abac = false", "enable_legacy_abac = true", "CKV_GCP_7")


def checks(check, space):
    check("policy: each skip has a reason and a date", reasons)
    check("policy: checkov finds nothing in any environment, nor in what comes before them", clean, space)
    check("policy: checkov finds what is made wrong", noticed, space)
    check("policy: keys are kept from being destroyed, or it is said why not", keys_are_kept_or_it_is_said_why_not)


def reasons():
    text = CONFIGURATION.read_text()
    skipped = re.findall(r"^ *- (\S+)$", text.split("skip-check:")[1], re.MULTILINE)
    assert skipped == [check for _, check in SKIP.findall(text)], skipped


def clean(space):
    plans, found = scanned(space)
    failed = [f"{one['check_id']} {one['check_name']}: {one['file_path']} {one['resource']}"
              for one in found["failed_checks"] if MADE_WRONG not in one["file_path"]]
    assert not failed, "\n".join(failed)
    for name, plan in plans.items():
        seen = {one["resource"] for one in found["passed_checks"] if f"{name}-plan" in one["file_path"]}
        looked = {address for address in resources(plan) if LOOKED.search(address)}
        assert seen and looked <= seen, f"{name}: not looked at: {looked - seen}"
    passed = [one for one in found["passed_checks"] if MADE_WRONG not in one["file_path"]]
    report.say(f"     checkov: {len(passed)} passed, {len(failed)} failed in {len(plans)} plans")


def noticed(space):
    _, found = scanned(space)
    failed = {one["check_id"] for one in found["failed_checks"] if MADE_WRONG in one["file_path"]}
    assert failed == {NOTICED[3]}, failed


def scanned(space):
    """The plans, and what is found in them and in one that is made wrong: all at once, since checkov starts slowly."""
    if not FOUND:
        plans = {name: space.plan(space.root(name), "-state=none.tfstate") for name in ROOTS}
        path, text, replacement, _ = NOTICED
        module, name = path.split("/")
        source = (space.module(module) / name).read_text()
        assert source.count(text) == 1, f"{path} has {text!r} {source.count(text)} times; mend this test"
        with space.edited(space.module(module), {name: source.replace(text, replacement)}):
            wrong = space.plan(space.environment("qa"), "-state=none.tfstate")
        FOUND.extend([plans, scan(space, plans | {MADE_WRONG: wrong})])
    return FOUND


def keys_are_kept_or_it_is_said_why_not():
    """What a plan does not tell: `prevent_destroy`. Skips stand beside the keys."""
    # Its parser cannot read the module without a provider, which has no key.
    arguments = ["--directory", TERRAFORM / "modules", "--skip-path", "catalogue"]
    found = checkov([*arguments, "--framework", "terraform", "--check", "CKV_GCP_82"], TERRAFORM)
    failed = [f"{one['file_path']} {one['resource']}" for one in found["failed_checks"]]
    assert not failed, "\n".join(failed)
    skipped = {one["resource"]: one["check_result"]["suppress_comment"] for one in found["skipped_checks"]}
    assert len(found["passed_checks"]) == 2 and len(skipped) == 2, found
    for resource, reason in skipped.items():
        assert re.fullmatch(r".{20,} \(\d{4}-\d{2}-\d{2}\)", reason), f"{resource}: {reason}"


def scan(space, plans):
    files = []
    for name, plan in plans.items():
        path = space.folder / f"{name}-plan.json"
        path.write_text(json.dumps(plan))
        files += ["--file", path]
    return checkov(["--config-file", CONFIGURATION, *files, "--framework", "terraform_plan"], space.folder)


def checkov(arguments, folder):
    program = Path(sys.executable).parent / "checkov"
    ran = subprocess.run(
        [program, *arguments, "--output", "json", "--skip-download", "--download-external-modules", "false"],
        capture_output=True, text=True, check=False, cwd=folder)
    assert ran.returncode in (0, 1) and ran.stdout.startswith("{"), ran.stdout + ran.stderr
    found = json.loads(ran.stdout)
    assert found["summary"]["parsing_errors"] == 0, found["summary"]
    return found["results"]
