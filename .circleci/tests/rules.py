"""What must hold for the pipeline. Each rule takes the configuration and raises AssertionError."""

import re

from config import before, commands, environments, make_targets, stages, steps

# What runs for long, or waits for others, and the longest silence that is borne.
SILENCE = {"lint": 20, "test": 20, "image": 20, "test-image": 20, "release": 10, "promote": 60}
# What needs an identity, and so a context that only the main branch may use.
IDENTIFIED = {"registry-login", "release", "credentials", "promote"}
JOBS = {
    "test": ["make lint", "make test"],
    "image": ["make image", "make test-image", "make registry-login", "make release"],
    "promote": ["make registry-login", "make credentials ENVIRONMENT={0}", "make promote ENVIRONMENT={0}"],
}
COMMAND = re.compile(r"(make [a-z][a-z-]*( [A-Z]+=[a-z0-9-]+)*|regions [a-z][a-z-]*( (--)?[a-z0-9/.-]+)*)")
KEYS = {
    "": {"version", "executors", "commands", "jobs", "workflows"},
    "executor": {"machine", "resource_class", "environment"},
    "machine": {"image"},
    "command": {"steps"},
    "job": {"executor", "steps", "parameters"},
    "parameter": {"description", "type", "enum"},
    "workflow": {"jobs"},
    "stage": {"name", "requires", "context", "filters", "serial-group", "type", "environment"},
    "filters": {"branches"},
    "branches": {"only"},
    "run": {"name", "command", "no_output_timeout"},
    "restore_cache": {"name", "keys"},
    "save_cache": {"name", "key", "paths"},
    "store_test_results": {"path"},
    "checkout": set(),
}


def known(place, keys, kind):
    unknown = set(keys) - KEYS[kind]
    assert not unknown, f"{place}: unknown {', '.join(sorted(unknown))}; known here: {', '.join(sorted(KEYS[kind]))}"


def every_key_is_known(config):
    known("config", config, "")
    assert config["version"] == 2.1
    for name, executor in config["executors"].items():
        known(f"executors.{name}", executor, "executor")
        known(f"executors.{name}.machine", executor["machine"], "machine")
    for name, command in config["commands"].items():
        known(f"commands.{name}", command, "command")
    for name, job in config["jobs"].items():
        known(f"jobs.{name}", job, "job")
        for parameter, content in job.get("parameters", {}).items():
            known(f"jobs.{name}.parameters.{parameter}", content, "parameter")
    assert set(config["workflows"]) == {"release"}, "one workflow, from a commit to production"
    known("workflows.release", config["workflows"]["release"], "workflow")
    for stage in stages(config):
        known(stage.name, stage.given, "stage")
        if "filters" in stage.given:
            known(f"{stage.name}.filters", stage.given["filters"], "filters")
            known(f"{stage.name}.filters.branches", stage.given["filters"]["branches"], "branches")


def every_step_is_known(config):
    for place, content in [*config["jobs"].items(), *config["commands"].items()]:
        for kind, step in steps(config, content, {}):
            assert kind in KEYS, f"{place}: a step `{kind}`"
            known(f"{place}, {kind}", step, kind)


def every_name_is_defined_once_and_used(config):
    found = stages(config)
    names = [stage.name for stage in found]
    assert len(set(names)) == len(names), f"two stages of one name: {names}"
    for stage in found:
        assert stage.approval or stage.kind in config["jobs"], f"{stage.name}: no job {stage.kind}"
        unknown = set(stage.requires) - set(names)
        assert not unknown, f"{stage.name} requires {', '.join(unknown)}, which is no stage"
        assert len(set(stage.requires)) == len(stage.requires), f"{stage.name} requires one stage twice"
        assert stage.given.get("requires") != [], f"{stage.name}: requires is empty"
    assert set(config["jobs"]) == {stage.kind for stage in found if not stage.approval}, "a job is never run"
    used = {step for job in config["jobs"].values() for step in job["steps"] if isinstance(step, str)}
    assert set(config["commands"]) == used - {"checkout"}, used
    assert {job["executor"] for job in config["jobs"].values()} == set(config["executors"])


def there_is_no_cycle(config):
    found = stages(config)
    for stage in found:
        assert stage.name not in before(stage.name, found), f"{stage.name} waits for itself"


def approvals_are_only_approvals(config):
    for stage in stages(config):
        if stage.approval:
            assert stage.given["type"] == "approval", stage.given["type"]
            assert set(stage.given) == {"type", "requires", "filters"}, sorted(stage.given)
            assert stage.kind not in config["jobs"], f"{stage.name} is a job too"


def each_environment_comes_after_the_one_before(config):
    found = stages(config)
    promoted = {stage.environment(): stage for stage in found if stage.kind == "promote"}
    assert list(promoted) == environments(), f"promoted to {list(promoted)}, the catalogue has {environments()}"
    assert len([s for s in found if s.kind == "promote"]) == len(promoted), "an environment is promoted to twice"
    names = [promoted[environment].name for environment in environments()]
    assert names == [f"promote-{environment}" for environment in environments()], names
    for first, then in zip(names, names[1:]):
        assert first in before(then, found), f"{then} does not wait for {first}"
    assert "image" in before(names[0], found) and "test" in before("image", found)


def production_waits_for_a_person_who_has_seen_staging(config):
    found = stages(config)
    *others, production = environments()
    name = f"promote-{production}"
    approvals = [stage for stage in found if stage.approval and stage.name in before(name, found)]
    assert approvals, f"{name} waits for nobody's approval"
    for approval in approvals:
        missing = {f"promote-{one}" for one in others} - before(approval.name, found)
        assert not missing, f"{approval.name} can be given before {', '.join(sorted(missing))}"
    assert [a.name for a in approvals] == [f"approve-{production}"]


def only_main_deploys(config):
    found = stages(config)
    for stage in found:
        targets = {command.split()[1] for command in commands(config, stage)}
        if targets & IDENTIFIED or stage.approval or "context" in stage.given:
            filters = stage.given.get("filters")
            assert filters == {"branches": {"only": "main"}}, f"{stage.name} runs on other branches: {filters}"
        else:
            assert "filters" not in stage.given, f"{stage.name} is for every branch"


def contexts_are_given_where_they_are_needed(config):
    for stage in stages(config):
        targets = {command.split()[1] for command in commands(config, stage)}
        wanted = None
        if stage.environment():
            wanted = [f"meridian-{stage.environment()}"]
        elif targets & IDENTIFIED:
            wanted = ["meridian-registry"]
        assert stage.given.get("context") == wanted, f"{stage.name}: context {stage.given.get('context')}, not {wanted}"


def one_pipeline_at_a_time_deploys_an_environment(config):
    for stage in stages(config):
        wanted = f"<< pipeline.project.slug >>/{stage.environment()}" if stage.environment() else None
        found = stage.given.get("serial-group")
        assert found == wanted, f"{stage.name}: serial-group {found}, not {wanted}"


def each_step_is_one_command(config):
    targets = make_targets()
    for stage in stages(config):
        for command in commands(config, stage):
            assert COMMAND.fullmatch(command), f"{stage.name}: `{command}` is more than one make or regions command"
            program, target, *_ = command.split()
            if program == "make":
                assert target in targets, f"{stage.name}: the Makefile has no target {target}"


def each_job_runs_what_it_is_for(config):
    for stage in stages(config):
        if not stage.approval:
            wanted = [command.format(stage.environment()) for command in JOBS[stage.kind]]
            assert commands(config, stage) == wanted, f"{stage.name}: {commands(config, stage)}"
            kinds = [kind for kind, _ in steps(config, config["jobs"][stage.kind], stage.given)]
            assert kinds[:2] == ["checkout", "restore_cache"], f"{stage.name} begins with {kinds[:2]}"
            assert kinds.count("checkout") == kinds.count("restore_cache") == 1
            closing = ["save_cache", "store_test_results"] if stage.kind == "test" else []
            assert [kind for kind in kinds[2:] if kind != "run"] == closing, kinds
            assert kinds[-len(closing):] == closing if closing else True, f"{stage.name} ends with {kinds}"


def nothing_hangs_for_hours(config):
    for name, job in config["jobs"].items():
        for kind, step in steps(config, job, {}):
            if kind == "run":
                limit = SILENCE.get(step["command"].split()[1])
                wanted = None if limit is None else f"{limit}m"
                found = step.get("no_output_timeout")
                assert found == wanted, f"{name}: `{step['command']}` may be silent for {found}, not {wanted}"


def parameters_are_the_catalogues(config):
    for name, job in config["jobs"].items():
        if name != "promote":
            assert "parameters" not in job, name
            continue
        assert set(job["parameters"]) == {"environment"}, sorted(job["parameters"])
        parameter = job["parameters"]["environment"]
        assert parameter["type"] == "enum" and parameter["enum"] == environments(), parameter
    for stage in stages(config):
        if stage.kind != "promote":
            assert "environment" not in stage.given, f"{stage.name} takes no environment"


def no_key_is_stored(config):
    for name, executor in config["executors"].items():
        for variable, value in executor["environment"].items():
            secret = re.search(r"SECRET|PASSWORD|TOKEN|_KEY|CREDENTIAL", variable)
            assert not secret and len(str(value)) < 80, f"executors.{name}: {variable} looks like a key"


def everything_is_pinned(config):
    (executor,) = config["executors"].values()
    assert re.fullmatch(r"[a-z]+-\d{4}:\d{4}\.\d{2}\.\d", executor["machine"]["image"]), executor["machine"]
    assert executor["resource_class"] == "large"
    files = "/home/circleci/.meridian"
    assert executor["environment"] == {
        "GOTOOLCHAIN": "go1.26.8",
        "REGISTRY_AUTH_FILE": f"{files}/registry.json",
        "HELM_REGISTRY_CONFIG": f"{files}/registry.json",
        "KUBECONFIG": f"{files}/kubeconfig",
    }, executor["environment"]


def caches_are_kept_by_branch(config):
    every = [step for job in config["jobs"].values() for step in steps(config, job, {})]
    restores = [content for kind, content in every if kind == "restore_cache"]
    saves = [content for kind, content in every if kind == "save_cache"]
    assert restores and len(saves) == 1
    files = ["Cargo.lock", *(f"local/tools/{part}/go.sum" for part in ("vault", "kubernetes", "helm"))]
    loose = "v1-{{ arch }}-{{ .Branch }}-"
    exact = loose + "-".join(f'{{{{ checksum "{file}" }}}}' for file in files)
    for restore in restores:
        assert restore["keys"] == [exact, loose], restore["keys"]
    assert saves[0]["key"] == exact
    assert saves[0]["paths"] == ["~/.cargo/registry", "~/.cache/meridian"], saves[0]["paths"]


def results_are_kept(config):
    kept = [s for kind, s in steps(config, config["jobs"]["test"], {}) if kind == "store_test_results"]
    assert kept == [{"path": "target/test-results"}], kept


RULES = [
    every_key_is_known, every_step_is_known, every_name_is_defined_once_and_used, there_is_no_cycle,
    approvals_are_only_approvals, each_environment_comes_after_the_one_before,
    production_waits_for_a_person_who_has_seen_staging, only_main_deploys,
    contexts_are_given_where_they_are_needed, one_pipeline_at_a_time_deploys_an_environment,
    each_step_is_one_command, each_job_runs_what_it_is_for, nothing_hangs_for_hours,
    parameters_are_the_catalogues, no_key_is_stored, everything_is_pinned, caches_are_kept_by_branch,
    results_are_kept,
]
