"""Broken pipelines, made by a program: every operator at every site."""

import copy

from config import stages
from mutate import at, dotted, inner, leaves, other, removed, replaced


def renamed(config, path):
    """A copy in which a key is misspelt, its place kept."""
    copied = copy.deepcopy(config)
    parent = at(copied, path[:-1])
    content = {f"{key}x" if key == path[-1] else key: value for key, value in parent.items()}
    parent.clear()
    parent.update(content)
    return copied


def generic(config):
    """Each leaf changed, each part removed, each key misspelt, each item doubled, neighbours swapped."""
    for path in leaves(config):
        yield f"{dotted(path)} changed", replaced(config, path, other(at(config, path)))
    for path in inner(config):
        yield f"{dotted(path)} removed", removed(config, path)
        parent = at(config, path[:-1])
        if isinstance(parent, dict):
            yield f"{dotted(path)} misspelt", renamed(config, path)
        else:
            yield f"{dotted(path)} twice", replaced(config, path[:-1], [*parent, at(config, path)])
            if path[-1] + 1 < len(parent):
                order = parent.copy()
                order[path[-1]], order[path[-1] + 1] = order[path[-1] + 1], order[path[-1]]
                yield f"{dotted(path)} swapped with the next", replaced(config, path[:-1], order)


def of_stages(config):
    """What people get wrong: a value of one stage in another, a looser filter, an approval that is none."""
    place = ("workflows", "release", "jobs")
    entries = at(config, place)
    names = [stage.name for stage in stages(config)]
    for index, stage in enumerate(stages(config)):
        if not stage.given:
            continue
        here = (*place, index, stage.kind)
        for key in ("context", "serial-group", "requires", "environment", "filters"):
            for donor in stages(config):
                theirs = donor.given.get(key)
                if donor.name != stage.name and theirs is not None and theirs != stage.given.get(key):
                    yield f"{stage.name}: {key} of {donor.name}", replaced(config, (*here, key), theirs)
        for name in names:
            if name not in stage.requires:
                yield f"{stage.name}: requires {name} alone", replaced(config, (*here, "requires"), [name])
        if "filters" in stage.given:
            for only in ("/.*/", ["main", "release"], "/main.*/", "master"):
                loose = replaced(config, (*here, "filters", "branches", "only"), only)
                yield f"{stage.name}: branches only {only}", loose
            ignore = replaced(config, (*here, "filters"), {"branches": {"ignore": "x"}})
            yield f"{stage.name}: every branch but one", ignore
            tags = replaced(config, (*here, "filters", "tags"), {"only": "/.*/"})
            yield f"{stage.name}: tags too", tags
        if stage.approval:
            job = replaced(config, ("jobs", stage.kind), config["jobs"]["test"])
            yield f"{stage.name}: a job of that name", removed(job, (*here, "type"))
    yield "a second way to production", replaced(config, place, [
        *entries,
        {"promote": {"name": "hotfix", "environment": "production", "context": ["meridian-production"],
                     "filters": {"branches": {"only": "main"}}}},
    ])


def of_commands(config):
    """Logic in a step."""
    for path in leaves(config):
        if path[-1] != "command":
            continue
        command = at(config, path)
        for logic in (f"{command} || true", f"{command}; true", f"if true; then {command}; fi", f"cd . && {command}",
                      f"{command} | tee log", f"FOO=bar {command}", f"sudo {command}", f"{command} $(date)",
                      f"{command} KEY=$SECRET", f"{command}\nmake clean", "bash -c true", "curl https://example.com",
                      command.replace("make ", "make no-such-")):
            yield f"{dotted(path)} = {logic!r}", replaced(config, path, logic)


def all_of(config):
    yield from generic(config)
    yield from of_stages(config)
    yield from of_commands(config)
