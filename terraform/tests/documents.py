"""What a reader relies on: examples that plan, lists of variables and outputs that are whole, names and bounds."""

import json
import os
import re
import subprocess

from workspace import ENVIRONMENTS, FIRST, MODULES, TERRAFORM

VARIABLES = 15
PROVIDER = "= 6.50.0"


def checks(check, space):
    check("format: terraform fmt", formatted)
    check("versions: one Terraform and one provider everywhere", versions)
    check("environments: the same but for their settings and their state", alike)
    for name in MODULES:
        check(f"module {name}: at most {VARIABLES} variables", few, name)
        check(f"module {name}: the README's tables are current", current, name)
    check("a README whose tables are not current is noticed", stale, space)
    check("documents: every link leads somewhere", linked)
    check("documents: runbooks name what Terraform makes and tells", named)


def formatted():
    environment = {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1"}
    ran = subprocess.run(
        [os.environ["TERRAFORM"], f"-chdir={TERRAFORM}", "fmt", "-check", "-diff", "-recursive", "-no-color"],
        env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def versions():
    roots = [TERRAFORM / "modules" / name for name in MODULES] + [TERRAFORM / "environments" / name for name in ENVIRONMENTS]
    roots += [TERRAFORM / name for name in FIRST]
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
    names = {tuple(sorted(str(path.relative_to(folder)) for path in [*folder.glob("*.tf"), *folder.glob("tests/*")])) for folder in folders}
    assert len(names) == 1, names
    for name in set(*names) - {"settings.tf"}:
        texts = {(folder / name).read_text().replace(folder.name, "ENVIRONMENT") for folder in folders}
        assert len(texts) == 1, f"{name} differs between environments"
    for folder in folders:
        text = (folder / "terraform.tf").read_text()
        said = dict(re.findall(r'^    (\w+) += "(.*)"$', text, re.MULTILINE))
        assert said["bucket"] == f"meridian-{folder.name}-terraform-state"
        assert said["prefix"] == f"environments/{folder.name}"


def few(name):
    text = (TERRAFORM / "modules" / name / "variables.tf").read_text()
    variables = re.findall(r'^variable "(\w+)"', text, re.MULTILINE)
    assert 1 <= len(variables) <= VARIABLES, f"{len(variables)} variables"


def current(name):
    """The tables of a README, as terraform-docs makes them of the module as it is now."""
    command = [os.environ["TERRAFORM_DOCS"], "--config", TERRAFORM / ".terraform-docs.yml"]
    check = [] if os.environ.get("UPDATE") else ["--output-check"]
    ran = subprocess.run([*command, *check, TERRAFORM / "modules" / name], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stdout}{ran.stderr}If it is meant: UPDATE=1 terraform/tests/run current"


def stale(space):
    """A description that changes is a README that is not current."""
    folder = space.module("entry")
    command = [os.environ["TERRAFORM_DOCS"], "--config", TERRAFORM / ".terraform-docs.yml", "--output-check", folder]
    text = (folder / "variables.tf").read_text()
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    with space.edited(folder, {"variables.tf": text.replace("Seconds for which resolvers", "Minutes for which resolvers")}):
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode != 0 and "out of date" in ran.stdout + ran.stderr, ran.stdout + ran.stderr


def linked():
    """Links between files, and to headings in them."""
    for page in [*TERRAFORM.glob("*.md"), *TERRAFORM.glob("*/*.md"), *TERRAFORM.glob("modules/*/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
            path, _, heading = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            assert there.exists(), f"{page.relative_to(TERRAFORM)}: {target}"
            if heading:
                text = (there / "README.md" if there.is_dir() else there).read_text()
                titles = [re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
                assert heading in titles, f"{page.relative_to(TERRAFORM)}: {target}; it has {titles}"


def named():
    """Addresses and outputs in runbooks and the README."""
    production = json.loads((TERRAFORM / "tests" / "golden" / "production.json").read_text())
    outputs = set(re.findall(r'^output "(\w+)"', (TERRAFORM / "environments" / "production" / "outputs.tf").read_text(), re.MULTILINE))
    seen = 0
    for page in [TERRAFORM / "README.md", *TERRAFORM.glob("runbooks/*.md"), TERRAFORM / "modules" / "vault" / "README.md"]:
        text = page.read_text()
        for address in re.findall(r"import '(module\.[^']+)'", text):
            assert address in production, f"{page.name}: {address}"
            seen += 1
        for output in re.findall(r"output (?:-json )?([a-z_]+)[: ]", text.replace("terraform output vaults", "output vaults")):
            assert output in outputs or output == "failover_seconds", f"{page.name}: output {output}"
            seen += 1
    assert seen >= 6, seen


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
