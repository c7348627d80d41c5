"""checkov, with every check on but those that .checkov.yaml skips, each with a reason and a date."""

import json
import re
import subprocess
import sys
from pathlib import Path

from workspace import TERRAFORM

CONFIGURATION = TERRAFORM / ".checkov.yaml"
# A skip as it must be written: the reason, when it was last thought about, and the check.
SKIP = re.compile(r"^  # (?P<reason>.{20,}) \((?P<date>\d{4}-\d{2}-\d{2})\)\n  - (?P<id>CKV2?_[A-Z]+_\d+)$", re.MULTILINE)


def checks(check):
    check("policy: each skip has a reason and a date", reasons)
    check("policy: checkov finds nothing", clean)


def reasons():
    text = CONFIGURATION.read_text()
    skipped = re.findall(r"^  - (\S+)$", text.split("skip-check:")[1], re.MULTILINE)
    assert skipped == [match["id"] for match in SKIP.finditer(text)], skipped


def clean():
    program = Path(sys.executable).parent / "checkov"
    ran = subprocess.run(
        [program, "--config-file", CONFIGURATION, "--directory", TERRAFORM, "--framework", "terraform", "--output", "json",
         "--quiet", "--skip-download", "--download-external-modules", "false"],
        capture_output=True, text=True, check=False, cwd=TERRAFORM)
    found = json.loads(ran.stdout)
    failed = [
        f"{one['check_id']} {one['check_name']}: {one['resource']} ({one['file_path']})"
        for one in found["results"]["failed_checks"]
    ]
    assert not failed, "\n".join(failed)
    summary = found["summary"]
    assert summary["passed"] > 100 and summary["parsing_errors"] == 0, summary
    assert ran.returncode == 0, ran.stderr
