"""The order of a workflow's jobs, and which of them run, as CircleCI decides it."""

from config import Stage, steps


def order(stages):
    """Stages so that each comes after what it requires; of those that could be next, the first in the file."""
    left, done, found = list(stages), set(), []
    while left:
        ready = next((stage for stage in left if done.issuperset(stage.requires)), None)
        if ready is None:
            raise ValueError(f"{', '.join(stage.name for stage in left)} wait for each other")
        left.remove(ready)
        done.add(ready.name)
        found.append(ready)
    return found


def runs(stage: Stage, ended):
    """Whether a stage begins, after all that it requires has ended in these ways."""
    for name, how in stage.ends.items():
        wanted = [how] if isinstance(how, str) else how
        if ended[name] not in wanted:
            return False
    return True


def commands(config, stage):
    """What a stage runs, one after another."""
    job = config["jobs"][stage.kind]
    return [content["command"] for kind, content in steps(config, job, stage.given) if kind == "run"]


def play(config, stages, act):
    """Plays a workflow: `act(stage, commands)` does a stage and says success or failed. Gives how each ended."""
    ended = {}
    for stage in order(stages):
        if not runs(stage, ended):
            ended[stage.name] = "not_run"
            continue
        ended[stage.name] = act(stage, [] if stage.approval else commands(config, stage))
    return ended
