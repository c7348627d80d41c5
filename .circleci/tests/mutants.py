"""Broken pipelines, made by a program: every operator at every site."""

from config import all_stages, stages
from mutate import at, dotted, inner, leaves, other, removed, replaced


def renamed(config, path):
    """A copy in which a key is misspelt, its place kept."""
    content = {f"{key}x" if key == path[-1] else key: value for key, value in at(config, path[:-1]).items()}
    return replaced(config, path[:-1], content) if path[:-1] else content


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


def of_stages(config, workflow):
    """What people get wrong: a value of one stage in another, a looser filter, an approval that is none."""
    place = ("workflows", workflow, "jobs")
    entries = at(config, place)
    found = stages(config, workflow)
    for index, stage in enumerate(found):
        if not stage.given:
            continue
        here = (*place, index, stage.kind)
        for key in ("context", "serial-group", "requires", "environment", "operation", "filters"):
            tried = [stage.given.get(key), None]
            for donor in all_stages(config):
                theirs = donor.given.get(key)
                if theirs not in tried:
                    tried.append(theirs)
                    yield f"{workflow}, {stage.name}: {key} of {donor.workflow}, {donor.name}", replaced(config, (*here, key), theirs)
        for other in found:
            if other.name not in stage.requires:
                yield f"{stage.name}: requires {other.name} alone", replaced(config, (*here, "requires"), [other.name])
        for name in stage.requires:
            for how in ("failed", "canceled", "terminal", "success", ["failed", "success"], ["success", "failed", "canceled"]):
                if how != stage.ends[name]:
                    loose = [{one: how if one == name else ends} for one, ends in stage.ends.items()]
                    if stage.ends[name] != "success" or how != "success":
                        yield f"{stage.name}: {name} may be {how}", replaced(config, (*here, "requires"), loose)
        if "context" in stage.given:
            both = [*stage.given["context"], "meridian-production"]
            yield f"{stage.name}: a second context", replaced(config, (*here, "context"), both)
            yield f"{stage.name}: the context of the organisation", replaced(config, (*here, "context"), ["org-global"])
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
            around = removed(config, (*place, index))
            for other, entry in enumerate(at(around, place)):
                given = entry if isinstance(entry, str) else next(iter(entry.values()))
                if not isinstance(given, str) and stage.name in given.get("requires", []):
                    kind = next(iter(entry))
                    yield f"{workflow}: without {stage.name}", replaced(around, (*place, other, kind, "requires"), stage.requires) \
                        if stage.requires else removed(around, (*place, other, kind, "requires"))
    for kind, environment in (("promote", "production"), ("settle", "production")):
        yield f"{workflow}: a second way to production by {kind}", replaced(config, place, [
            *entries,
            {kind: {"name": "hotfix", "environment": environment, "context": [f"meridian-{environment}"],
                    "serial-group": f"<< pipeline.project.slug >>/{environment}", "filters": {"branches": {"only": "main"}}}},
        ])


def of_workflows(config):
    """A workflow that runs when something else is asked for, or always."""
    operations = config["parameters"]["operation"]["enum"]
    for name in config["workflows"]:
        here = ("workflows", name, "when")
        for when in [True, {"not": at(config, here)}, {"or": [at(config, here), True]},
                     *[{"equal": [other, "<< pipeline.parameters.operation >>"]} for other in operations if other != name]]:
            yield f"{name}: when {when}", replaced(config, here, when)
        yield f"{name}: a copy of it", replaced(config, ("workflows", f"{name}-2"), config["workflows"][name])


def of_parameters(config):
    """Free text where there was a choice, and in places where a shell reads it."""
    for name in config["parameters"]:
        if config["parameters"][name]["type"] == "enum":
            yield f"{name}: free text", replaced(config, ("parameters", name), {"type": "string", "default": ""})
        for path in leaves(config):
            if path[-1] == "command":
                text = f"{at(config, path)} WHY=<< pipeline.parameters.{name} >>"
                yield f"{dotted(path)} with {name}", replaced(config, path, text)
    for path in leaves(config):
        if path[-1] == "type" and "parameters" in path and at(config, path) == "enum":
            yield f"{dotted(path)} is free text", replaced(config, path, "string")


def of_jobs(config):
    """Another machine, a step of another job, steps that are tried again, what is kept of a job."""
    for name, job in config["jobs"].items():
        for executor in config["executors"]:
            if executor != job["executor"]:
                yield f"{name} on {executor}", replaced(config, ("jobs", name, "executor"), executor)
        for other, donor in config["jobs"].items():
            if donor["steps"] != job["steps"]:
                yield f"{name} does what {other} does", replaced(config, ("jobs", name, "steps"), donor["steps"])
        yield f"{name} has a key", replaced(config, ("jobs", name, "environment"), {"VAULT_TOKEN": "x"})
        for index, step in enumerate(job["steps"]):
            if isinstance(step, dict) and "run" in step:
                here = ("jobs", name, "steps", index, "run")
                yield f"{name}, step {index} tried again", replaced(config, (*here, "max_auto_reruns"), 3)
                for key in ("background", "when", "environment", "working_directory", "shell"):
                    yield f"{name}, step {index} with {key}", replaced(config, (*here, key), "always")
        for step in ({"add_ssh_keys": {}}, {"persist_to_workspace": {"root": ".", "paths": ["."]}}, "setup_remote_docker",
                     {"run": "make clean"}, {"store_artifacts": {"path": "/"}}):
            yield f"{name} with {step}", replaced(config, ("jobs", name, "steps"), [*job["steps"], step])


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
    for workflow in config["workflows"]:
        yield from of_stages(config, workflow)
    yield from of_workflows(config)
    yield from of_parameters(config)
    yield from of_jobs(config)
    yield from of_commands(config)
