"""What a reader relies on: examples that plan, lists of variables and outputs that are whole, names and bounds."""

import os
import re
import subprocess

from workspace import ENVIRONMENTS, MODULES, TERRAFORM

VARIABLES = 15
PROVIDER = "= 6.50.0"


def checks(check):
    check("format: terraform fmt", formatted)
    check("versions: one Terraform and one provider everywhere", versions)
    check("environments: the same but for their settings and their state", alike)
    for name in MODULES:
        check(f"module {name}: at most {VARIABLES} variables, all in the README as are the outputs", listed, name)


def formatted():
    environment = {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1"}
    ran = subprocess.run(
        [os.environ["TERRAFORM"], f"-chdir={TERRAFORM}", "fmt", "-check", "-diff", "-recursive", "-no-color"],
        env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def versions():
    roots = [TERRAFORM / "modules" / name for name in MODULES] + [TERRAFORM / "environments" / name for name in ENVIRONMENTS]
    said = set()
    for folder in roots:
        text = "".join(path.read_text() for path in folder.glob("*.tf"))
        said.update(re.findall(r'required_version = (".*")', text))
        assert "required_version" in text, f"{folder.name} names no Terraform"
        if 'resource "google_' in text:
            assert re.findall(r'source  = "hashicorp/google"\n\s+version = "(.*)"', text) == [PROVIDER], folder.name
    assert len(said) == 1, said


def alike():
    folders = [TERRAFORM / "environments" / name for name in ENVIRONMENTS]
    names = {tuple(sorted(path.name for path in folder.glob("*.tf"))) for folder in folders}
    assert len(names) == 1, names
    for name in set(*names) - {"settings.tf"}:
        texts = {(folder / name).read_text().replace(folder.name, "ENVIRONMENT") for folder in folders}
        assert len(texts) == 1, f"{name} differs between environments"
    for folder in folders:
        text = (folder / "terraform.tf").read_text()
        assert f'bucket = "meridian-{folder.name}-terraform-state"' in text
        assert f'prefix = "environments/{folder.name}"' in text


def listed(name):
    folder = TERRAFORM / "modules" / name
    readme = (folder / "README.md").read_text()
    variables = re.findall(r'^variable "(\w+)"', (folder / "variables.tf").read_text(), re.MULTILINE)
    outputs = re.findall(r'^output "(\w+)"', (folder / "outputs.tf").read_text(), re.MULTILINE)
    assert 1 <= len(variables) <= VARIABLES, f"{len(variables)} variables"
    assert re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE) == variables + outputs


def example(space, name):
    """The example of a README, as a root of its own beside the environments."""
    readme = (TERRAFORM / "modules" / name / "README.md").read_text()
    blocks = re.findall(r"^```hcl\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1, f"{len(blocks)} examples"
    folder = space.folder / "terraform" / "environments" / f"example-{name}"
    folder.mkdir()
    (folder / "main.tf").write_text(blocks[0])
    space.init(folder)
    plan = space.plan(folder)
    assert plan.get("resource_changes") or plan.get("output_changes"), "nothing is planned"
