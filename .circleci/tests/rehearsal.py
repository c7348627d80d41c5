"""The rehearsal's own logic: the order of jobs, which of them run, and that its bad commits are bad."""

import sys

import config
import rendering
from report import check

sys.path.insert(0, str(config.ROOT / ".circleci/rehearse"))
import rehearse  # noqa: E402
import schedule  # noqa: E402

READ = config.read(config.FILE.read_text())


def played(fails=None, ending="failed"):
    """How each stage of a release ended, and in which order they were done, when one ends otherwise."""
    done = []

    def act(stage, _):
        done.append(stage.name)
        return ending if stage.name == fails else "success"

    return schedule.play(READ, config.stages(READ), act), done


def a_good_commit_goes_all_the_way():
    ended, done = played()
    stages = config.stages(READ)
    assert {name for name, how in ended.items() if how == "not_run"} == {stage.name for stage in stages if stage.kind == "settle"}, ended
    for stage in stages:
        for name in stage.requires:
            assert stage.name not in done or done.index(name) < done.index(stage.name), f"{stage.name} before {name}"


def whatever_fails_nothing_is_promoted_after_it():
    stages = config.stages(READ)
    for ending in ("failed", "canceled"):
        for fails in stages:
            _, done = played(fails.name, ending)
            after = done[done.index(fails.name) + 1:] if fails.name in done else []
            late = [stage.name for stage in stages if stage.kind == "promote" and stage.name in after]
            assert not late or fails.kind == "settle", f"{fails.name} {ending}, and then {late}"
            if fails.kind == "promote":
                assert after == [f"settle-{fails.environment()}"], f"{fails.name} {ending}, and then {after}"


def stages_that_wait_for_each_other_are_said_to():
    circle = [config.Stage({"test": {"name": one, "requires": [other]}}, "release") for one, other in (("a", "b"), ("b", "a"))]
    try:
        schedule.order(circle)
    except ValueError as error:
        assert "a, b wait for each other" in str(error), error
    else:
        raise AssertionError("a circle has no order")


def the_later_commits_change_the_chart():
    """In one place, and into what Helm renders for every environment of this machine."""
    catalogue = config.ROOT / "local/catalogue"
    for path, where, _ in rehearse.LATER.values():
        chart, changed = rendering.chart_with(rendering.IMAGES), 0
        for file in (chart / "templates").iterdir():
            text, count = rehearse.probing(file.read_text(), path, where)
            file.write_text(text)
            changed += count
        assert changed == 1, f"{path}: {changed} places"
        for region in sorted(catalogue.glob("*/[!_]*.yaml")):
            environment = region.parent.name
            objects = rendering.template(rendering.value_arguments(catalogue, environment, region.stem), chart)
            asked = {probe["httpGet"]["path"] for probe in probes(objects)}
            assert (path.strip('"') in asked) == (where in (None, environment)), f"{path} in {environment}: {asked}"


def probes(objects):
    """What is asked whether the service is ready."""
    for one in objects:
        if one["kind"] == "Deployment":
            for container in one["spec"]["template"]["spec"]["containers"]:
                if "httpGet" in container.get("readinessProbe", {}):
                    yield container["readinessProbe"]


def run():
    check("rehearsal: a good commit goes all the way", a_good_commit_goes_all_the_way)
    check("rehearsal: whatever fails, nothing is promoted after it", whatever_fails_nothing_is_promoted_after_it)
    check("rehearsal: stages that wait for each other are said to", stages_that_wait_for_each_other_are_said_to)
    check("rehearsal: the later commits change the chart", the_later_commits_change_the_chart)
