"""Plans of every environment: the inventory, and what a change of the catalogue changes."""

import difflib
import json
import os

import random_catalogue
from workspace import ENVIRONMENTS, TESTS, actions, resources

# A region that no environment has yet, as an operator would add it.
ADDED, RANGE = "southamerica-east1", "10.32.0.0/14"


def checks(check, space):
    for name in ENVIRONMENTS:
        check(f"environment {name}: the plan is the golden inventory", golden, space, name)
        check(f"environment {name}: applied, nothing is left to do", settled, space, name)
        check(f"environment {name}: a region added is one file, and touches no other", added, space, name)
        check(f"environment {name}: a region removed touches no other", removed, space, name)
    check("environment production: one pool changed is one pool updated", pool_changed, space)
    check("environment production: protection is lifted for the named region only", unprotected, space)
    check("environment production: protection of an unknown region is refused", unknown_region, space)
    check(f"a catalogue that nobody wrote is planned (SEED={random_catalogue.SEED})", unwritten, space)


def golden(space, name):
    plan = space.plan(space.environment(name))
    assert set(actions(plan).values()) == {"create"}
    for region in regions(space, name):
        assert any(f'["{region}"]' in address for address in actions(plan)), f"nothing is planned for {region}"
    path = TESTS / "golden" / f"{name}.json"
    made = json.dumps(resources(plan), indent=2, sort_keys=True) + "\n"
    if os.environ.get("UPDATE"):
        path.write_text(made)
    wanted = path.read_text() if path.exists() else ""
    difference = difflib.unified_diff(wanted.splitlines(True), made.splitlines(True), path.name, "planned")
    assert wanted == made, "".join(list(difference)[:80]) + "\nIf it is meant: UPDATE=1 terraform/tests/run golden"


def settled(space, name):
    folder = applied(space, name)
    plan = space.plan(folder)
    assert set(actions(plan).values()) == {"no-op"}, actions(plan)
    assert plan["prior_state"]["values"]["outputs"]["regions"]["value"].keys() == regions(space, name)


def added(space, name):
    folder = applied(space, name)
    before = resources(space.plan(folder))
    model = sorted(regions(space, name))[0]
    text = "\n".join([
        f"location: {ADDED}", f"wave: {wave(space, name, model)}", f"range: {RANGE}", ""])
    assert text.count("\n") <= 12
    with space.edited(space.catalogue(name), {f"{ADDED}.yaml": text}):
        plan = space.plan(folder)
    new = {address for address, action in actions(plan).items() if action != "no-op"}
    assert {actions(plan)[address] for address in new} == {"create"}
    # Exactly what the model region has, under the new name.
    pools = {address for address in before if f'["{model}"].google_container_node_pool' in address}
    wanted = {address.replace(f'["{model}"]', f'["{ADDED}"]') for address in before if f'["{model}"]' in address}
    assert pools and new == wanted, f"planned: {sorted(new)}\nwanted: {sorted(wanted)}"
    untouched(before, plan, new)


def removed(space, name):
    folder = applied(space, name)
    before = resources(space.plan(folder))
    # An environment needs a region: where it has but one, another is added first.
    text = f"location: {ADDED}\nwave: {wave(space, name, sorted(regions(space, name))[0])}\nrange: {RANGE}\n"
    catalogue = space.catalogue(name)
    with space.edited(catalogue, {f"{ADDED}.yaml": text}):
        space.done(folder, "apply", "-auto-approve", "-input=false", "-no-color")
    try:
        plan = space.plan(folder)
        gone = {address for address, action in actions(plan).items() if action != "no-op"}
        assert {actions(plan)[address] for address in gone} == {"delete"}
        assert gone == {address for address in actions(plan) if f'["{ADDED}"]' in address}
        assert len(gone) >= 8, gone
        untouched(before, plan, gone)
    finally:
        space.done(folder, "apply", "-auto-approve", "-input=false", "-no-color")
    assert set(actions(space.plan(folder)).values()) == {"no-op"}


def pool_changed(space):
    folder = applied(space, "production")
    catalogue = space.catalogue("production")
    text = (catalogue / "asia-southeast1.yaml").read_text()
    assert "min: 1, max: 6, spot: true" in text
    edit = {"asia-southeast1.yaml": text.replace("min: 1, max: 6, spot: true", "min: 3, max: 9, spot: true")}
    with space.edited(catalogue, edit):
        plan = space.plan(folder)
    changed = {address: action for address, action in actions(plan).items() if action != "no-op"}
    address = 'module.region["asia-southeast1"].google_container_node_pool.this["spot"]'
    assert changed == {address: "update"}, changed
    assert resources(plan)[address]["autoscaling"][0]["total_max_node_count"] == 9


def unprotected(space):
    folder = applied(space, "production")
    before = resources(space.plan(folder))
    plan = space.plan(folder, '-var=removing=["us-east4"]')
    changed = {address: action for address, action in actions(plan).items() if action != "no-op"}
    address = 'module.region["us-east4"].google_container_cluster.this'
    assert changed == {address: "update"}, changed
    assert before[address]["deletion_protection"] is True
    assert resources(plan)[address]["deletion_protection"] is False


def unknown_region(space):
    ran = space.terraform(space.environment("production"), "plan", "-no-color", '-var=removing=["us-east1"]')
    assert ran.returncode == 1
    said = " ".join(ran.stderr.split())
    assert "removing names us-east1; the catalogue has asia-southeast1, europe-west4, us-east4." in said, ran.stderr


def unwritten(space):
    """Random regions, each as its types allow: whatever `regions validate` takes is planned, whole."""
    folder, own = space.environment("production"), space.catalogue("production")
    written = random_catalogue.write(space.folder / "unwritten", 8)
    made = space.folder / "unwritten" / random_catalogue.ENVIRONMENT
    edits = dict.fromkeys(path.name for path in own.glob("*.yaml")) | {path.name: path.read_text() for path in made.iterdir()}
    with space.edited(own, edits):
        plan = space.plan(folder, "-state=none.tfstate")
    planned = resources(plan)
    for region in written:
        assert f'module.region["{region}"].google_container_cluster.this' in planned, region
        pools = [address for address in planned if address.startswith(f'module.region["{region}"].google_container_node_pool')]
        assert pools, region


def untouched(before, plan, touched):
    """Every address but the touched ones has the values that it had."""
    after = resources(plan)
    others = set(before) - touched
    assert others and others <= set(after)
    for address in others:
        assert after[address] == before[address], f"{address} differs:\n{before[address]}\n{after[address]}"


def applied(space, name):
    """The environment's folder, with all of its catalogue in its state."""
    folder = space.environment(name)
    if not (folder / "terraform.tfstate").exists():
        space.done(folder, "apply", "-auto-approve", "-input=false", "-no-color")
    return folder


def regions(space, name):
    return {path.stem for path in space.catalogue(name).glob("*.yaml") if path.name != "_environment.yaml"}


def wave(space, name, region):
    lines = (space.catalogue(name) / f"{region}.yaml").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith("wave:"))
