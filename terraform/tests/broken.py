"""Broken catalogues, each refused when an environment is planned, with the file, the key, what was found and what is
allowed. `regions validate` reports the same facts."""


EUROPE, ASIA, OWN = "europe-west4.yaml", "asia-southeast1.yaml", "_environment.yaml"
REGION = "location: us-west1\nwave: first\nrange: 10.16.0.0/14\n"
ENDS = {"range": "a private IPv4 range with a prefix of /12 to /16, such as 10.4.0.0/14"}

# What is broken in production → edits (file → text, None to take it away, or replacements), messages.
BROKEN = {
    "an unknown key of a region": (
        {EUROPE: ("location:", "zone: b\nlocation:")},
        [f"{EUROPE}: zone: found an unknown key; allowed is geo, kubernetes, location, pools, range, vault, watcher, wave, zones"]),
    "an unknown key of the environment": (
        {OWN: ("order: 3", "order: 3\nprojekt: x")},
        [f"{OWN}: projekt: found an unknown key; allowed is approle, bake, ceilings, defaults, domain, freezes, gates, order, pipeline, project, secrets, waves, workload"]),
    "a region without a range": (
        {EUROPE: ("range: 10.0.0.0/14\n", "")}, [f"{EUROPE}: range: found nothing; allowed is {ENDS['range']}"]),
    "a range that is none": (
        {EUROPE: ("10.0.0.0/14", "10.0.0.300/14")},
        [f'{EUROPE}: range: found `"10.0.0.300/14"`; allowed is {ENDS["range"]}']),
    "a range too small": (
        {EUROPE: ("10.0.0.0/14", "10.0.0.0/20")},
        [f'{EUROPE}: range: found `"10.0.0.0/20"`; allowed is {ENDS["range"]}']),
    "a range with host bits": (
        {EUROPE: ("10.0.0.0/14", "10.1.0.0/14")},
        [f"{EUROPE}: range: found `10.1.0.0/14`, which is an address inside of 10.0.0.0/14; allowed is a range whose host bits are zero"]),
    "a range that is not private": (
        {EUROPE: ("10.0.0.0/14", "192.168.0.0/15")},
        [f"{EUROPE}: range: found `192.168.0.0/15`, which is not private; allowed is a range inside of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16"]),
    "ranges that overlap": (
        {EUROPE: ("10.0.0.0/14", "10.8.0.0/13")},
        [f"{EUROPE}: range: found `10.8.0.0/13`, which overlaps `10.8.0.0/14` ({ASIA}); allowed is a range apart from those of the environment's other regions"]),
    "an unknown wave": (
        {EUROPE: ("wave: first", "wave: frist")}, [f"{EUROPE}: wave: found `frist`; allowed is first, second"]),
    "a location that is none": (
        {EUROPE: ("location: europe-west4", "location: Europe West 4")},
        [f'{EUROPE}: location: found `"Europe West 4"`; allowed is a Google region, such as europe-west4']),
    "two regions in one location": (
        {"us-west1.yaml": REGION.replace("us-west1", "europe-west4")},
        [f"us-west1.yaml: location: found `europe-west4` again, first in {EUROPE}; allowed is one region in each location"]),
    "two regions for one source of traffic": (
        {"us-west1.yaml": REGION + "geo: europe-west4\n"},
        [f"us-west1.yaml: geo: found `europe-west4` again, first in {EUROPE}; allowed is clients of each location sent to one region"]),
    "spot pools alone": (
        {ASIA: ("on-demand: { machine: n2-standard-4, min: 2, max: 6 }", "more: { machine: n2-standard-4, min: 2, max: 6, spot: true }")},
        [f"{ASIA}: pools: found 0 nodes at most in the pools that are not spot; allowed is 2 or more (max) in all: two replicas need a place when spot nodes are taken away"]),
    "a pool with more at least than at most": (
        {ASIA: ("min: 2, max: 6", "min: 7, max: 6")},
        [f"{ASIA}: pools.on-demand.min: found `7`; allowed is a whole number from 0 to max, which is 6"]),
    "a number in quotes": (
        {ASIA: ("min: 2, max: 6", 'min: "2", max: 6')},
        [f'{ASIA}: pools.on-demand.min: found `"2"`; allowed is a whole number from 0 to 1000']),
    "half a node": (
        {ASIA: ("min: 2, max: 6", "min: 2, max: 6.5")},
        [f"{ASIA}: pools.on-demand.max: found `6.5`; allowed is a whole number from 1 to 1000"]),
    "a spot that is neither true nor false": (
        {ASIA: ("spot: true", "spot: sometimes")},
        [f'{ASIA}: pools.spot.spot: found `"sometimes"`; allowed is true or false']),
    "an unknown key of a pool": (
        {ASIA: ("machine: n2-standard-4, min: 1", "machine: n2-standard-4, disk: 10, min: 1")},
        [f"{ASIA}: pools.spot.disk: found an unknown key; allowed is machine, max, min, spot"]),
    "a pool that is a text": (
        {ASIA: ("{ machine: n2-standard-4, min: 2, max: 6 }", "n2-standard-4")},
        [f'{ASIA}: pools.on-demand: found `"n2-standard-4"`; allowed is a map of machine, max, min, spot']),
    "no pools anywhere": (
        {OWN: ("  pools:\n    spot: { machine: e2-standard-4, min: 1, max: 8, spot: true }\n    on-demand: { machine: e2-standard-4, min: 2, max: 6 }", "  zones: [a, b, c]")},
        [f"{file}: pools: found nothing; allowed is a map of one or more names, here or under defaults in _environment.yaml"
         for file in (EUROPE, "us-east4.yaml")]),
    "a default that is wrong, told once": (
        {OWN: ("min: 2, max: 6", "min: 2, max: 0")},
        [f"{OWN}: defaults.pools.on-demand.max: found `0`; allowed is a whole number from 1 to 1000"]),
    "a zone twice": (
        {EUROPE: ("wave: first", "wave: first\nzones: [a, b, a]")},
        [f'{EUROPE}: zones: found `["a","b","a"]`, with a zone twice; allowed is each zone once']),
    "zones by full name": (
        {EUROPE: ("wave: first", "wave: first\nzones: [europe-west4-a]")},
        [f'{EUROPE}: zones: found `["europe-west4-a"]`; allowed is a list of one or more letters of zones, such as [a, b, c]']),
    "a project that another environment has": (
        {OWN: ("project: meridian-production", "project: meridian-staging")},
        [f'{OWN}: project: found `"meridian-staging"`, which staging has too; allowed is what no other environment has']),
    "a project id that is none": (
        {OWN: ("project: meridian-production", "project: Meridian")},
        [f'{OWN}: project: found `"Meridian"`; allowed is the id of a Google project']),
    "an order that another environment has": (
        {OWN: ("order: 3", "order: 2")},
        [f"{OWN}: order: found `2`, which staging has too; allowed is what no other environment has"]),
    "no waves": (
        {OWN: ("waves: [first, second]", "waves: []")},
        [f"{OWN}: waves: found `[]`; allowed is a list of one or more names"]),
    "an environment without its secrets": (
        {OWN: ("secrets:", "secret:")},
        [f"{OWN}: secret: found an unknown key", f"{OWN}: secrets: found nothing"]),
    "a name of a region that is none": (
        {"Us_West.yaml": REGION}, ["Us_West.yaml: found the name `Us_West`; allowed is a name: a small letter"]),
    "a name of a region that is too long": (
        {"northamerica-northeast1.yaml": REGION},
        ["northamerica-northeast1.yaml: found a name that makes `meridian-production-northamerica-northeast1` (43 characters) of its cluster; allowed is at most 40 characters there"]),
    "an ending that is no region's": (
        {"us-west1.yml": REGION},
        ["us-west1.yml: found a file that is no region's; allowed is _environment.yaml, and REGION.yaml for each region"]),
    "a file that is no YAML": (
        {EUROPE: ("wave: first", "wave: [first")},
        [f"{EUROPE}: found text that is no YAML (`regions validate` shows the line); allowed is a map of keys"]),
    "an empty file": (
        {"us-west1.yaml": ""}, ["us-west1.yaml: found text that is no YAML"]),
    "a file that is a list": (
        {"us-west1.yaml": "- location: us-west1\n"}, ["us-west1.yaml: found something other than a map of keys"]),
    "no region": (
        {EUROPE: None, ASIA: None, "us-east4.yaml": None}, [".: found no region; allowed is one file for each region"]),
    "no environment": ({OWN: None}, ["found no _environment.yaml; allowed is the folder of an environment"]),
    "several problems, all told at once": (
        {EUROPE: ("range: 10.0.0.0/14", "range: 10.4.0.0/14"), ASIA: ("wave: second", "wave: third"), OWN: ("order: 3", "order: none")},
        [f'{OWN}: order: found `"none"`; allowed is a whole number from 1 to 1000',
         f"us-east4.yaml: range: found `10.4.0.0/14`, which overlaps `10.4.0.0/14` ({EUROPE})",
         f"{ASIA}: wave: found `third`; allowed is first, second"]),
}


def checks(check, space):
    for what, (edits, messages) in BROKEN.items():
        check(f"catalogue: {what} is refused", refused, space, edits, messages)
    check("catalogue: what it allows at its bounds is planned", bounds, space)


def refused(space, edits, messages):
    folder, catalogue = space.environment("production"), space.catalogue("production")
    with space.edited(catalogue, {name: edit(catalogue / name, how) for name, how in edits.items()}):
        errors = space.errors(folder)
    # One error for the environment's file and one for the regions' at most, and no other beside them.
    assert 1 <= len(errors) <= 2, "\n".join(errors) or "the catalogue was planned"
    said = "\n".join(errors)
    for message in messages:
        assert said.count(message) == 1, f"wanted once: {message}\nsaid: {said}"
    # No line but those that the edit explains.
    told = [line for line in said.splitlines() if ": found " in line]
    assert len(told) == len(messages), f"wanted {len(messages)}\nsaid: {said}"


def edit(path, how):
    if not isinstance(how, tuple):
        return how
    text, (old, new) = path.read_text(), how
    assert text.count(old) == 1, f"{path.name} has {old!r} {text.count(old)} times; mend this test"
    return text.replace(old, new)


def bounds(space):
    """The largest range, a range at the end of each private block, one-letter names, all of a region's keys."""
    folder, catalogue = space.environment("production"), space.catalogue("production")
    region = "\n".join([
        "location: us-west1", "wave: first", "range: 172.16.0.0/12", "geo: us-west2", "zones: [c, a]",
        "kubernetes: { context: own }", "vault: { address: \"https://vault.example:8200\" }",
        "watcher: { address: \"https://watcher.example:9092\" }", "pools:",
        "  a: { machine: e2-standard-2, min: 0, max: 2, spot: false }", ""])
    with space.edited(catalogue, {"a.yaml": region, EUROPE: edit(catalogue / EUROPE, ("10.0.0.0/14", "192.168.0.0/16"))}):
        plan = space.plan(folder)
    values = {one["address"]: one["change"]["after"] for one in plan["resource_changes"]}
    subnetwork = values['module.network.google_compute_subnetwork.region["a"]']
    assert subnetwork["ip_cidr_range"] == "172.16.0.0/18"
    ranges = {one["range_name"]: one["ip_cidr_range"] for one in subnetwork["secondary_ip_range"]}
    assert ranges == {"services": "172.16.64.0/18", "pods": "172.20.0.0/14"}
    cluster = values['module.region["a"].google_container_cluster.this']
    assert sorted(cluster["node_locations"]) == ["us-west1-a", "us-west1-c"]
