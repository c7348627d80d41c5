"""The papers' commands, each given to the command line that it is for; pictures that are what their text says; links."""

import re
import shlex
import subprocess
import sys

import config
from report import check, skip

sys.path.insert(0, str(config.ROOT / "docs/pictures"))
import draw  # noqa: E402

PAPERS = ["README.md", "SECURITY.md", "ARCHITECTURE.md", "CONTRIBUTING.md", ".circleci/README.md", "terraform/README.md", "regions/README.md",
          *sorted(str(one.relative_to(config.ROOT)) for folder in ("docs", "terraform/runbooks") for one in (config.ROOT / folder).glob("*.md"))]


def read(paper):
    path = config.ROOT / paper
    return path.read_text() if path.is_file() else ""


def commands(text):
    """Commands of the blocks that are for a shell, lines that go on put together, comments taken away."""
    for block in re.findall(r"^[ ]*```(?:sh|console)?[^\n]*\n(.*?)^[ ]*```", text, re.MULTILINE | re.DOTALL):
        for line in re.sub(r"\\(\s*#[^\n]*)?\n", " ", block).splitlines():
            line = line.strip()
            if re.match(r"(regions|make) ", line):
                yield line


def words(command):
    """A command's words, without comment, pipe and redirection."""
    found = shlex.split(command, comments=True)
    for index, word in enumerate(found):
        if re.fullmatch(r"[|<>&;]+.*|\d?>.*", word):
            return found[:index]
    return found


def accepted(regions, asked):
    """Whether the command line takes these words. What stops a run comes before `--help` is looked at."""
    done = subprocess.run([regions, *asked, "--help"], cwd=config.ROOT, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode == 0, done.stderr.strip()


def each_command_is_one(regions, papers):
    wrong, seen = [], 0
    targets = config.make_targets()
    for paper in papers:
        for command in commands(read(paper)):
            program, *asked = words(command)
            seen += 1
            if program == "make":
                unknown = [word for word in asked if "=" not in word and word not in targets]
                wrong += [f"{paper}: {command}: the Makefile has no {one}" for one in unknown]
                continue
            taken, said = accepted(regions, asked)
            if not taken:
                wrong.append(f"{paper}: {command}: {said.splitlines()[0] if said else ''}")
    assert seen >= 30, f"only {seen} commands were read"
    assert not wrong, "\n".join(wrong)


def a_wrong_command_is_noticed(regions):
    assert list(commands("```sh\nregions status \\\n  --env qa # why\nls\n```\n")) == ["regions status    --env qa # why"]
    for good in ("status --env qa", "vault apply qa/europe-west4 --vault-ca F --dry-run"):
        assert accepted(regions, good.split())[0], good
    for bad in ("status --envv qa", "statuss", "vault aply qa/x --vault-ca F", "render --output jsn us-east4"):
        assert not accepted(regions, bad.split())[0], bad


def each_link_leads_somewhere():
    wrong = []
    for paper in PAPERS:
        folder = (config.ROOT / paper).parent
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", read(paper)):
            if not re.match(r"[a-z]+:", target) and not (folder / target).exists():
                wrong.append(f"{paper}: {target}")
    assert not wrong, "\n".join(wrong)


def pictures_are_what_their_text_says():
    stale = [one.name for one in draw.SOURCES if draw.target(one).read_text() != draw.drawn(one.read_text())]
    assert draw.SOURCES and not stale, f"{stale}: run docs/pictures/draw.py"


def shells_take_the_completions(regions):
    for shell, reader in (("bash", ["bash", "-n"]), ("zsh", None), ("fish", None)):
        done = subprocess.run([regions, "completions", shell], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0 and "promote" in done.stdout and "vault-ca" in done.stdout, done.stderr
        if reader:
            read_by = subprocess.run(reader, input=done.stdout, capture_output=True, text=True, check=False)
            assert read_by.returncode == 0, read_by.stderr
    done = subprocess.run(["bash", "-c", f"'{regions}' completions bash | head -1"], capture_output=True, text=True, check=False)
    assert "panicked" not in done.stderr, done.stderr


def run():
    check("docs: each link leads somewhere", each_link_leads_somewhere)
    check("docs: pictures are what their text says", pictures_are_what_their_text_says)
    regions = config.regions_program()
    if not regions:
        skip("docs: each command is one that regions and make know", "regions is not built; cargo build --package regions")
        return
    check("docs: each command is one that regions and make know", each_command_is_one, regions, PAPERS)
    check("docs: a wrong command is noticed", a_wrong_command_is_noticed, regions)
    check("docs: shells take the completions", shells_take_the_completions, regions)
