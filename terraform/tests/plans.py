"""Plans of every environment: the inventory, and what a change of the catalogue changes."""

import difflib
import json
import os
import re
from datetime import datetime

import random_catalogue
from workspace import ENVIRONMENTS, FIRST, ROOTS, SCHEMA, SOURCE, TESTS, actions, resources

# A region that no environment has yet, as an operator would add it.
ADDED, RANGE = "southamerica-east1", "10.32.0.0/14"
# The one thing that regions share: the answer to the environment's name.
ANSWER = "module.entry.google_dns_record_set.global"
STILL = {}


def checks(check, space):
    for name in ROOTS:
        check(f"{name}: the plan is the golden inventory", golden, space, name)
        check(f"{name}: applied, nothing is left to do", settled, space, name)
        check(f"{name}: everything is labelled by one convention", labelled, space, name)
    for name in ENVIRONMENTS:
        check(f"environment {name}: a region added is one file, and touches no other", added, space, name)
        check(f"environment {name}: a region removed touches no other", removed, space, name)
        check(f"environment {name}: no two regions are maintained at once", apart, space, name)
    check("environment production: one pool changed is one pool updated", pool_changed, space)
    check("environment production: protection is lifted for the named region only", unprotected, space)
    check("environment production: protection of an unknown region is refused", unknown_region, space)
    check("environment production: a Vault outside of its cluster needs nothing here", vault_outside, space)
    check("bootstrap: a state in which an environment's backend looks for it", states, space)
    check(f"a catalogue that nobody wrote is planned (SEED={random_catalogue.SEED})", unwritten, space)


def golden(space, name):
    plan = space.plan(space.root(name), "-state=none.tfstate")
    assert set(actions(plan).values()) <= {"create", "read"}
    for region in [] if name in FIRST else regions(space, name):
        assert any(f'["{region}"]' in address for address in actions(plan)), f"nothing is planned for {region}"
    path = TESTS / "golden" / f"{name}.json"
    made = json.dumps(resources(plan), indent=2, sort_keys=True) + "\n"
    if os.environ.get("UPDATE"):
        path.write_text(made)
    wanted = path.read_text() if path.exists() else ""
    difference = difflib.unified_diff(wanted.splitlines(True), made.splitlines(True), path.name, "planned")
    assert wanted == made, "".join(list(difference)[:80]) + "\nIf it is meant: UPDATE=1 terraform/tests/run golden"


def settled(space, name):
    plan = still(space, name)
    assert set(actions(plan).values()) == {"no-op"}, actions(plan)
    if name not in FIRST:
        assert plan["prior_state"]["values"]["outputs"]["regions"]["value"].keys() == regions(space, name)


def labelled(space, name):
    """Every resource that takes labels has those of its environment, and a region's also the region's."""
    schemas = json.loads(SCHEMA.read_text())["provider_schemas"][SOURCE]["resource_schemas"]
    plan = still(space, name)
    seen = 0
    for change in plan["resource_changes"]:
        schema = schemas.get(change["type"], {}).get("block", {}).get("attributes", {}) if change["mode"] == "managed" else {}
        of = next((key for key in ("resource_labels", "labels") if key in schema), None)
        if not of:
            continue
        found, address = change["change"]["after"][of] or {}, change["address"]
        environment = address.split('"')[1] if name == "bootstrap" and "module.project[" in address else name
        wanted = {"managed-by": "terraform", "meridian-environment": "delivery" if name in FIRST and environment in FIRST else environment}
        if region := next((one for one in regions(space, name) if f'["{one}"]' in address), None) if name not in FIRST else None:
            wanted["meridian-region"] = region
        assert found == wanted, f"{address}: {found}, wanted {wanted}"
        seen += 1
    assert seen, "nothing takes labels"


def apart(space, name):
    """Each region's window in a week, hour by hour."""
    days, taken = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"], {}
    for address, values in resources(still(space, name)).items():
        if "google_container_cluster" not in address:
            continue
        [window] = values["maintenance_policy"][0]["recurring_window"]
        first, last = (datetime.fromisoformat(window[key]) for key in ("start_time", "end_time"))
        hours = int((last - first).total_seconds()) // 3600
        named = window["recurrence"].removeprefix("FREQ=WEEKLY;BYDAY=").split(",")
        assert days[first.weekday()] == named[0], window
        # Google takes no less than 48 hours in 32 days, in pieces of four or more.
        assert hours >= 4 and hours * len(named) * 4 >= 48, window
        for day in named:
            for hour in range(hours):
                at = (days.index(day) * 24 + first.hour + hour) % 168
                assert at not in taken, f"{address} and {taken[at]}: hour {at} of the week"
                taken[at] = address
    assert taken


def added(space, name):
    folder = applied(space, name)
    before = resources(still(space, name))
    model = sorted(regions(space, name))[0]
    text = "\n".join([
        f"location: {ADDED}", f"wave: {wave(space, name, model)}", f"range: {RANGE}", ""])
    assert text.count("\n") <= 12
    with space.edited(space.catalogue(name), {f"{ADDED}.yaml": text}):
        plan = space.plan(folder)
    new = {address for address, action in actions(plan).items() if action == "create"}
    # Exactly what the model region has, under the new name.
    pools = {address for address in before if f'["{model}"].google_container_node_pool' in address}
    wanted = {address.replace(f'["{model}"]', f'["{ADDED}"]') for address in before if f'["{model}"]' in address}
    assert pools and new == wanted, f"planned: {sorted(new)}\nwanted: {sorted(wanted)}"
    untouched(before, plan, new)
    gained(before[ANSWER], resources(plan)[ANSWER])


def removed(space, name):
    """One of the regions, or, where an environment has but one and needs it, one that was added before."""
    folder, catalogue, before = applied(space, name), space.catalogue(name), resources(still(space, name))
    own = sorted(regions(space, name))
    state = folder / "terraform.tfstate"
    saved = state.read_text()
    text = f"location: {ADDED}\nwave: {wave(space, name, own[0])}\nrange: {RANGE}\n"
    region = own[-1] if len(own) > 1 else ADDED
    try:
        if region == ADDED:
            with space.edited(catalogue, {f"{ADDED}.yaml": text}):
                space.done(folder, "apply", "-auto-approve", "-input=false", "-no-color")
        with space.edited(catalogue, {f"{region}.yaml": None}):
            plan = space.plan(folder)
    finally:
        state.write_text(saved)
    gone = {address for address, action in actions(plan).items() if action == "delete"}
    assert gone == {address for address in actions(plan) if f'["{region}"]' in address}
    assert len(gone) >= 20, gone
    untouched(before, plan, gone)
    left = {geo["location"] for geo in resources(plan)[ANSWER]["routing_policy"][0]["geo"]}
    assert left == {geo["location"] for geo in before[ANSWER]["routing_policy"][0]["geo"]} - {region}


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
    before = resources(still(space, "production"))
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


def vault_outside(space):
    catalogue = space.catalogue("production")
    text = (catalogue / "us-east4.yaml").read_text() + 'vault: { address: "https://vault.example:8200", in_cluster: false }\n'
    with space.edited(catalogue, {"us-east4.yaml": text}):
        planned = resources(space.plan(space.environment("production"), "-state=none.tfstate"))
    vaults = {address.split('"')[1] for address in planned if address.startswith("module.vault[")}
    assert vaults == {"asia-southeast1", "europe-west4"}, vaults


def states(space):
    planned = resources(space.plan(space.root("bootstrap"), "-state=none.tfstate"))
    made = {values["name"] for address, values in planned.items() if ".google_storage_bucket." in address}
    accounts = {f"{values['account_id']}@{values['project']}.iam.gserviceaccount.com"
                for address, values in planned.items() if ".google_service_account." in address}
    for name in ROOTS:
        text = (space.root(name) / "terraform.tf").read_text()
        said = dict(re.findall(r'^    (\w+) += "(.*)"$', text, re.MULTILINE))
        assert said["bucket"] in made, f"{name}: {said['bucket']} is none of {made}"
        # Bootstrap is applied by a person, before there is an account.
        assert (name == "bootstrap") or said["impersonate_service_account"] in accounts, f"{name}: {said}"
    for address, values in planned.items():
        if ".google_storage_bucket." in address:
            assert values["versioning"] == [{"enabled": True}], address


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
    """Every other address has the values that it had, and nothing is done to it; the answer is compared apart."""
    after = resources(plan)
    changed = {address for address, action in actions(plan).items() if action != "no-op"} - touched
    assert changed == {ANSWER} and actions(plan)[ANSWER] == "update", changed
    others = set(before) - touched - {ANSWER}
    assert others and others <= set(after)
    for address in others:
        assert after[address] == before[address], f"{address} differs:\n{before[address]}\n{after[address]}"


def gained(before, after):
    """Each location of the answer is as it was, and there is one more."""
    was, now = ({geo["location"]: geo for geo in answer["routing_policy"][0]["geo"]} for answer in (before, after))
    assert set(now) == {*was, ADDED}
    assert all(now[location] == geo for location, geo in was.items())


def applied(space, name):
    """A root's folder, with all of it in its state."""
    folder = space.root(name)
    if not (folder / "terraform.tfstate").exists():
        space.done(folder, "apply", "-auto-approve", "-input=false", "-no-color")
    return folder


def still(space, name):
    """The plan of a root that is applied and whose catalogue has not changed since."""
    if name not in STILL:
        STILL[name] = space.plan(applied(space, name))
    return STILL[name]


def regions(space, name):
    return {path.stem for path in space.catalogue(name).glob("*.yaml") if path.name != "_environment.yaml"}


def wave(space, name, region):
    lines = (space.catalogue(name) / f"{region}.yaml").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith("wave:"))
