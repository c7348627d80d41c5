"""What must hold for the pipeline. Each rule takes the configuration and raises AssertionError."""

import re

import config as pipeline
from config import all_stages, before, commands, make_targets, stages, steps

# The longest silence that is borne of what runs for long, or waits for others.
SILENCE = {
    "lint": 20, "advisories": 20, "test-all": 20, "image": 20, "test-image": 20, "release": 10, "sign": 10, "promote": 60,
    "settle": 30, "<< parameters.operation >>": 30, "rotate": 120, "nightly": 60,
}
# What only asks, and may be tried again. Nothing that writes may: a person looks first.
REPEATED = {"registry-login", "credentials"}
# What needs an identity, and so a context that only the main branch may use.
IDENTIFIED = {"registry-login", "release", "sign", "credentials", "promote", "settle", "drain", "restore", "rollback", "rotate"}
# What a person starts by hand, and whose workflow begins with an approval.
BY_HAND = ["rotate", "drain", "restore", "rollback"]
LOGINS = ["make registry-login", "make credentials ENVIRONMENT={0}"]
JOBS = {
    "check": ["make lint", "make advisories"],
    "test": ["make test-all"],
    "image": ["make image", "make test-image", "make registry-login", "make release"],
    "sign": ["make registry-login", "make sign"],
    "promote": [*LOGINS, "make promote ENVIRONMENT={0}"],
    "settle": [*LOGINS, "make settle ENVIRONMENT={0}"],
    "operate": [*LOGINS, "make {1} ENVIRONMENT={0}"],
    "rotate": ["make credentials ENVIRONMENT={0}", "make rotate ENVIRONMENT={0}"],
    "nightly": ["make nightly"],
}
# What a job does beside running commands, and what for.
CLOSING = {
    "test": [("save_cache", None), ("store_test_results", {"path": "target/test-results"})],
    "sign": [("store_artifacts", {"path": "target/papers"})],
    "nightly": [("store_test_results", {"path": "target/test-results"})],
}
# Builds and tests take both cores and the memory; the others wait for clusters.
MACHINES = {"check": "builder", "test": "builder", "image": "builder", "nightly": "builder"}
# Free text comes to a job in these variables, and in nothing else.
VARIABLES = {
    "operate": {"REGION": "<< pipeline.parameters.region >>", "TO": "<< pipeline.parameters.to >>", "WHY": "<< pipeline.parameters.why >>"},
    "rotate": {"SECRET": "<< pipeline.parameters.secret >>", "ROTATION": "<< pipeline.id >>"},
}
PLACE = "<< pipeline.parameters.environment >>"
COMMAND = re.compile(r"(make [a-z][a-z-]*( [A-Z]+=[a-z0-9-]+)*|regions [a-z][a-z-]*( (--)?[a-z0-9/.-]+)*)")
KEYS = {
    "": {"version", "parameters", "executors", "commands", "jobs", "workflows"},
    "executor": {"machine", "resource_class", "environment"},
    "machine": {"image"},
    "command": {"steps", "parameters"},
    "job": {"executor", "steps", "parameters", "environment"},
    "parameter": {"description", "type", "enum"},
    "pipeline parameter": {"description", "type", "enum", "default"},
    "workflow": {"jobs", "when"},
    "stage": {"name", "requires", "context", "filters", "serial-group", "type", "environment", "operation"},
    "filters": {"branches"},
    "branches": {"only"},
    "run": {"name", "command", "no_output_timeout", "max_auto_reruns", "auto_rerun_delay"},
    "restore_cache": {"name", "keys"},
    "save_cache": {"name", "key", "paths"},
    "store_test_results": {"path"},
    "store_artifacts": {"path"},
    "checkout": set(),
}


TARGETS = make_targets()
ENVIRONMENTS = pipeline.environments()


def known(place, keys, kind):
    unknown = set(keys) - KEYS[kind]
    assert not unknown, f"{place}: unknown {', '.join(sorted(unknown))}; known here: {', '.join(sorted(KEYS[kind]))}"


def every_key_is_known(config):
    known("config", config, "")
    assert config["version"] == 2.1
    for name, executor in config["executors"].items():
        known(f"executors.{name}", executor, "executor")
        known(f"executors.{name}.machine", executor["machine"], "machine")
    for name, parameter in config["parameters"].items():
        known(f"parameters.{name}", parameter, "pipeline parameter")
    for section, kind in (("commands", "command"), ("jobs", "job")):
        for name, content in config[section].items():
            known(f"{section}.{name}", content, kind)
            for parameter, told in content.get("parameters", {}).items():
                known(f"{section}.{name}.parameters.{parameter}", told, "parameter")
    for name, workflow in config["workflows"].items():
        known(f"workflows.{name}", workflow, "workflow")
    for stage in all_stages(config):
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
    for workflow in config["workflows"]:
        found = stages(config, workflow)
        names = [stage.name for stage in found]
        assert len(set(names)) == len(names), f"{workflow}: two stages of one name: {names}"
        for stage in found:
            assert stage.approval or stage.kind in config["jobs"], f"{stage.name}: no job {stage.kind}"
            unknown = set(stage.requires) - set(names)
            assert not unknown, f"{stage.name} requires {', '.join(unknown)}, which is no stage of {workflow}"
            assert stage.count == len(stage.requires), f"{stage.name} requires one stage twice"
            assert stage.given.get("requires") != [], f"{stage.name}: requires is empty"
    assert set(config["jobs"]) == {stage.kind for stage in all_stages(config) if not stage.approval}, "a job is never run"
    used = {step if isinstance(step, str) else next(iter(step)) for job in config["jobs"].values() for step in job["steps"]}
    assert set(config["commands"]) == used - set(KEYS), used
    assert {job["executor"] for job in config["jobs"].values()} == set(config["executors"])


def there_is_no_cycle(config):
    for workflow in config["workflows"]:
        found = stages(config, workflow)
        for stage in found:
            assert stage.name not in before(stage.name, found), f"{stage.name} waits for itself"


def each_operation_has_its_workflow(config):
    wanted = ["release", *BY_HAND, "nightly"]
    operation = config["parameters"]["operation"]
    assert operation["enum"] == wanted and operation["default"] == "release", operation
    assert list(config["workflows"]) == wanted, list(config["workflows"])
    for name, workflow in config["workflows"].items():
        chosen = {"equal": [name, "<< pipeline.parameters.operation >>"]}
        assert workflow.get("when") == chosen, f"{name} runs when {workflow.get('when')}, not when it is asked for alone"


def each_workflow_has_its_stages(config):
    *others, production = ENVIRONMENTS
    stages_of = {
        "release": ["check", "test", "image", "sign",
                    *[f"{verb}-{one}" for one in others for verb in ("promote", "settle")],
                    f"approve-{production}", f"promote-{production}", f"settle-{production}"],
        "nightly": ["nightly"],
        "rotate": ["approve-rotate", "rotate"],
    } | {name: [f"approve-{name}", "operate"] for name in BY_HAND if name != "rotate"}
    for workflow, wanted in stages_of.items():
        found = [stage.name for stage in stages(config, workflow)]
        assert sorted(found) == sorted(wanted), f"{workflow}: {found}"


def approvals_are_only_approvals(config):
    for stage in all_stages(config):
        if stage.approval:
            assert stage.given["type"] == "approval", stage.given["type"]
            assert set(stage.given) - {"requires"} == {"type", "filters"}, sorted(stage.given)
            assert stage.kind not in config["jobs"], f"{stage.name} is a job too"
            assert stage.name.startswith("approve-"), stage.name


def a_commit_is_checked_tested_built_and_signed_before_it_runs_anywhere(config):
    found = stages(config)
    for first, then in zip(["check", "test", "image"], ["test", "image", "sign"]):
        assert first in before(then, found), f"{then} does not wait for {first}"
    for stage in found:
        if stage.kind == "promote":
            assert "sign" in before(stage.name, found), f"{stage.name} does not wait for a signature"


def each_environment_comes_after_the_one_before(config):
    found = stages(config)
    promoted = {stage.environment(): stage for stage in found if stage.kind == "promote"}
    assert list(promoted) == ENVIRONMENTS, f"promoted to {list(promoted)}, the catalogue has {ENVIRONMENTS}"
    assert len([s for s in found if s.kind == "promote"]) == len(promoted), "an environment is promoted to twice"
    names = [promoted[environment].name for environment in ENVIRONMENTS]
    assert names == [f"promote-{environment}" for environment in ENVIRONMENTS], names
    for first, then in zip(names, names[1:]):
        assert first in before(then, found), f"{then} does not wait for {first}"


def production_waits_for_a_person_who_has_seen_staging(config):
    found = stages(config)
    *others, production = ENVIRONMENTS
    name = f"promote-{production}"
    approvals = [stage for stage in found if stage.approval and stage.name in before(name, found)]
    assert approvals, f"{name} waits for nobody's approval"
    for approval in approvals:
        missing = {f"promote-{one}" for one in others} - before(approval.name, found)
        assert not missing, f"{approval.name} can be given before {', '.join(sorted(missing))}"
    assert [a.name for a in approvals] == [f"approve-{production}"]


def what_is_done_by_hand_waits_for_a_person(config):
    for name in BY_HAND:
        found = stages(config, name)
        (approval,) = [stage for stage in found if stage.approval]
        assert not approval.requires, approval.requires
        for stage in found:
            assert stage.approval or stage.requires == [approval.name], f"{name}: {stage.name} waits for {stage.requires}"


def only_what_went_well_is_gone_on_with(config):
    for stage in all_stages(config):
        wanted = ["failed", "canceled"] if stage.kind == "settle" else "success"
        for name, how in stage.ends.items():
            assert how == wanted, f"{stage.name} goes on when {name} is {how}"


def each_promotion_that_failed_is_settled(config):
    found = stages(config)
    settled = {stage.environment(): stage for stage in found if stage.kind == "settle"}
    assert sorted(settled) == sorted(ENVIRONMENTS), f"settled are {sorted(settled)}"
    for environment, stage in settled.items():
        assert stage.name == f"settle-{environment}" and stage.requires == [f"promote-{environment}"], stage.given
        followers = [other.name for other in found if stage.name in other.requires]
        assert not followers, f"{followers} would follow a promotion that failed"


def only_main_deploys(config):
    for stage in all_stages(config):
        targets = {command.split()[1] for command in commands(config, stage)}
        if targets & IDENTIFIED or stage.approval or "context" in stage.given:
            filters = stage.given.get("filters")
            assert filters == {"branches": {"only": "main"}}, f"{stage.name} runs on other branches: {filters}"
        else:
            assert "filters" not in stage.given, f"{stage.name} is for every branch"


def contexts_are_given_where_they_are_needed(config):
    for stage in all_stages(config):
        targets = {command.split()[1] for command in commands(config, stage)}
        wanted = None
        if stage.environment():
            wanted = [f"meridian-{stage.environment()}{'-rotator' if stage.kind == 'rotate' else ''}"]
        elif targets & IDENTIFIED:
            wanted = ["meridian-registry"]
        assert stage.given.get("context") == wanted, f"{stage.name}: context {stage.given.get('context')}, not {wanted}"


def one_pipeline_at_a_time_changes_an_environment(config):
    for stage in all_stages(config):
        wanted = None
        if stage.environment():
            # A rotation waits for as long as tokens live, and holds no release up.
            wanted = f"<< pipeline.project.slug >>/{stage.environment()}{'/rotate' if stage.kind == 'rotate' else ''}"
        found = stage.given.get("serial-group")
        assert found == wanted, f"{stage.name}: serial-group {found}, not {wanted}"


def each_stage_says_what_its_job_takes(config):
    for stage in all_stages(config):
        if stage.approval:
            continue
        parameters = set(config["jobs"][stage.kind].get("parameters", {}))
        given = set(stage.given) & {"environment", "operation"}
        assert given == parameters, f"{stage.name} gives {sorted(given)}, {stage.kind} takes {sorted(parameters)}"
        if stage.workflow != "release" and stage.environment():
            assert stage.environment() == PLACE, f"{stage.workflow}: environment {stage.environment()}"
        if "operation" in given:
            assert stage.given["operation"] == stage.workflow, f"{stage.workflow} does {stage.given['operation']}"


def each_step_is_one_command(config):
    for stage in all_stages(config):
        for command in commands(config, stage):
            command = command.replace(PLACE, "environment")
            assert COMMAND.fullmatch(command), f"{stage.name}: `{command}` is more than one make or regions command"
            program, target, *_ = command.split()
            if program == "make":
                assert target in TARGETS, f"{stage.name}: the Makefile has no target {target}"


def free_text_is_never_a_part_of_a_command(config):
    free = {name for name, parameter in config["parameters"].items() if parameter["type"] != "enum"}
    assert free == {"region", "to", "why"}, free
    for name, content in [*config["jobs"].items(), *config["commands"].items()]:
        for kind, step in steps(config, content, {}):
            if kind == "run":
                put_in = set(re.findall(r"<<\s*pipeline\.[a-z.]*?(\w+)\s*>>", step["command"]))
                assert not put_in, f"{name}: `{step['command']}`: a shell would read {', '.join(sorted(put_in))}"
    for name, job in config["jobs"].items():
        assert job.get("environment") == VARIABLES.get(name), f"{name}: environment {job.get('environment')}"
        for parameter in job.get("parameters", {}).values():
            assert parameter["type"] == "enum", f"{name} takes free text"


def each_job_runs_what_it_is_for(config):
    for stage in all_stages(config):
        if stage.approval:
            continue
        wanted = [command.format(stage.environment(), stage.given.get("operation")) for command in JOBS[stage.kind]]
        assert commands(config, stage) == wanted, f"{stage.name}: {commands(config, stage)}"
        found = steps(config, config["jobs"][stage.kind], stage.given)
        kinds = [kind for kind, _ in found]
        assert kinds[:2] == ["checkout", "restore_cache"], f"{stage.name} begins with {kinds[:2]}"
        assert kinds.count("checkout") == kinds.count("restore_cache") == 1
        closing = CLOSING.get(stage.kind, [])
        assert [kind for kind in kinds[2:] if kind != "run"] == [kind for kind, _ in closing], kinds
        for (wanted, content), (kind, step) in zip(closing, found[len(found) - len(closing):]):
            assert kind == wanted and content in (None, step), f"{stage.name} ends with {kind} {step}"


def nothing_hangs_for_hours(config):
    for name, content in [*config["jobs"].items(), *config["commands"].items()]:
        for kind, step in steps(config, content, {}):
            if kind == "run":
                limit = SILENCE.get(" ".join(step["command"].split(" ENVIRONMENT")[0].split()[1:]))
                wanted = None if limit is None else f"{limit}m"
                found = step.get("no_output_timeout")
                assert found == wanted, f"{name}: `{step['command']}` may be silent for {found}, not {wanted}"


def only_what_asks_is_tried_again(config):
    for name, content in [*config["jobs"].items(), *config["commands"].items()]:
        for kind, step in steps(config, content, {}):
            if kind == "run":
                again = step["command"].split()[1] in REPEATED
                found = (step.get("max_auto_reruns"), step.get("auto_rerun_delay"))
                assert found == ((2, "10s") if again else (None, None)), f"{name}: `{step['command']}` is run again: {found}"


def parameters_are_the_catalogues(config):
    environment = {"type": "enum", "enum": ENVIRONMENTS}
    operation = {"type": "enum", "enum": [name for name in BY_HAND if name != "rotate"]}
    takes = {("jobs", name): {"environment": environment} for name in ("promote", "settle", "rotate")}
    takes |= {("jobs", "operate"): {"environment": environment, "operation": operation},
              ("commands", "credentials"): {"environment": environment}}
    for section in ("jobs", "commands"):
        for name, content in config[section].items():
            found = {key: {k: v for k, v in told.items() if k != "description"} for key, told in content.get("parameters", {}).items()}
            assert found == takes.get((section, name), {}), f"{section}.{name}: {found}"
    text = {"type": "string", "default": ""}
    wanted = {
        "operation": {"type": "enum", "enum": ["release", *BY_HAND, "nightly"], "default": "release"},
        "environment": environment | {"default": ENVIRONMENTS[0]},
        "region": text, "to": text, "why": text,
        "secret": {"type": "enum", "enum": ["clients", "signing-keys"], "default": "signing-keys"},
    }
    found = {name: {k: v for k, v in told.items() if k != "description"} for name, told in config["parameters"].items()}
    assert found == wanted, found


def no_key_is_stored(config):
    places = [*config["executors"].values(), *config["jobs"].values()]
    for place in places:
        for variable, value in place.get("environment", {}).items():
            secret = re.search(r"PASSWORD|TOKEN|_KEY|CREDENTIAL", variable)
            assert not secret and len(str(value)) < 80, f"{variable} looks like a key"


def everything_is_pinned(config):
    files = "/home/circleci/.meridian"
    assert {name: one["resource_class"] for name, one in config["executors"].items()} == {"builder": "large", "operator": "medium"}
    for executor in config["executors"].values():
        assert re.fullmatch(r"[a-z]+-\d{4}:\d{4}\.\d{2}\.\d", executor["machine"]["image"]), executor["machine"]
        assert executor["environment"] == {
            "GOTOOLCHAIN": "go1.26.8",
            "REGISTRY_AUTH_FILE": f"{files}/registry.json",
            "HELM_REGISTRY_CONFIG": f"{files}/registry.json",
            "KUBECONFIG": f"{files}/kubeconfig",
        }, executor["environment"]
    for name, job in config["jobs"].items():
        assert job["executor"] == MACHINES.get(name, "operator"), f"{name} runs on {job['executor']}"


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


RULES = [
    every_key_is_known, every_step_is_known, every_name_is_defined_once_and_used, there_is_no_cycle,
    each_operation_has_its_workflow, each_workflow_has_its_stages, approvals_are_only_approvals,
    a_commit_is_checked_tested_built_and_signed_before_it_runs_anywhere, each_environment_comes_after_the_one_before,
    production_waits_for_a_person_who_has_seen_staging, what_is_done_by_hand_waits_for_a_person,
    only_what_went_well_is_gone_on_with, each_promotion_that_failed_is_settled, only_main_deploys,
    contexts_are_given_where_they_are_needed, one_pipeline_at_a_time_changes_an_environment,
    each_stage_says_what_its_job_takes, each_step_is_one_command, free_text_is_never_a_part_of_a_command,
    each_job_runs_what_it_is_for, nothing_hangs_for_hours, only_what_asks_is_tried_again, parameters_are_the_catalogues,
    no_key_is_stored, everything_is_pinned, caches_are_kept_by_branch,
]
