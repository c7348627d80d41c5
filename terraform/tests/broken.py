"""Broken catalogues, each refused when an environment is planned, with the file, the key, what was found and what is
allowed; and `regions validate` finds the same in the same catalogue, no more and no less."""

import json
import re
import subprocess
from pathlib import Path

EUROPE, ASIA, OWN = "europe-west4.yaml", "asia-southeast1.yaml", "_environment.yaml"
MODELINE = "# yaml-language-server: $schema=../../schema/region.schema.json\n"
REGION = MODELINE + "location: us-west1\nwave: first\nrange: 10.16.0.0/14\n"
RANGE = "a private IPv4 range with a prefix of /12 to /16, such as 10.4.0.0/14"
NAME = "a name: a small letter, then small letters, digits and hyphens, at most 40, no hyphen at the end"
WAVE = "a name of small letters, digits and hyphens, at most 40, no hyphen at either end"
UUID = "an id such as 9f3c2a1e-0b4d-4c5e-8f6a-7b8c9d0e1f2a, in small letters"
REGION_KEYS = "geo, kubernetes, location, monitoring, pools, range, vault, watcher, wave, zones"
OWN_KEYS = "approle, bake, ceilings, defaults, domain, freezes, gates, order, pipeline, project, secrets, signers, waves, workload"
UNKNOWN = "a key that is not known here; allowed the keys"
PIPELINE = "6d2f9a7c-1111-4b0e-8a53-1e9c3f7bd002"


def vault(value):
    return ("wave: first", f"wave: first\nvault: {value}")


# What is broken in production → edits (file → text, None to take it away, or replacements), messages.
BROKEN = {
    # Keys.
    "an unknown key of a region": (
        {EUROPE: ("location:", "zone: b\nlocation:")}, [f"{EUROPE}: zone: found {UNKNOWN} {REGION_KEYS}"]),
    "an unknown key of the environment": (
        {OWN: ("order: 3", "order: 3\nprojekt: x")}, [f"{OWN}: projekt: found {UNKNOWN} {OWN_KEYS}"]),
    "an unknown key of the defaults": (
        {OWN: ("defaults:", "defaults:\n  location: us-east4")},
        [f"{OWN}: defaults.location: found {UNKNOWN} geo, kubernetes, monitoring, pools, vault, watcher, zones"]),
    "an unknown key of a pool": (
        {ASIA: ("machine: n2-standard-4, min: 1", "machine: n2-standard-4, disk: 10, min: 1")},
        [f"{ASIA}: pools.spot.disk: found {UNKNOWN} machine, max, min, spot"]),
    "an unknown key of the pipeline": (
        {OWN: ("  organisation:", "  branch: main\n  organisation:")},
        [f"{OWN}: pipeline.branch: found {UNKNOWN} contexts, issuer, organisation, project"]),
    "a region without a range": (
        {EUROPE: ("range: 10.0.0.0/14\n", "")}, [f"{EUROPE}: range: found nothing; allowed {RANGE}"]),
    "a pool without a machine": (
        {ASIA: ("spot: { machine: n2-standard-4, ", "spot: { ")},
        [f"{ASIA}: pools.spot.machine: found nothing; allowed a Google machine type, such as e2-standard-4"]),
    "an environment without its secrets": (
        {OWN: ("secrets:", "secret:")},
        [f"{OWN}: secret: found {UNKNOWN} {OWN_KEYS}", f"{OWN}: secrets: found nothing; allowed a map of one or more names"]),
    # Ranges.
    "a range that is none": (
        {EUROPE: ("10.0.0.0/14", "10.0.0.300/14")}, [f"{EUROPE}: range: found `10.0.0.300/14`; allowed {RANGE}"]),
    "a range too small": (
        {EUROPE: ("10.0.0.0/14", "10.0.0.0/20")}, [f"{EUROPE}: range: found `10.0.0.0/20`; allowed {RANGE}"]),
    "a range with host bits": (
        {EUROPE: ("10.0.0.0/14", "10.1.0.0/14")},
        [f"{EUROPE}: range: found `10.1.0.0/14`, which is an address inside of 10.0.0.0/14; allowed a range whose host bits are zero"]),
    "a range that is not private": (
        {EUROPE: ("10.0.0.0/14", "192.168.0.0/15")},
        [f"{EUROPE}: range: found `192.168.0.0/15`, which is not private; allowed a range inside of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16"]),
    "ranges that overlap": (
        {EUROPE: ("10.0.0.0/14", "10.8.0.0/13")},
        [f"{EUROPE}: range: found `10.8.0.0/13`, which overlaps `10.8.0.0/14` ({ASIA}); allowed a range apart from those of the environment's other regions"]),
    # Where a region is.
    "an unknown wave": (
        {EUROPE: ("wave: first", "wave: frist")}, [f"{EUROPE}: wave: found `frist`; allowed first, second"]),
    "a wave that is a number": (
        {EUROPE: ("wave: first", "wave: 1")}, [f"{EUROPE}: wave: found the number `1`; allowed {WAVE}"]),
    "a wave of no text": (
        {EUROPE: ("wave: first", "wave: ''")}, [f"{EUROPE}: wave: found empty text; allowed {WAVE}"]),
    "a location that is none": (
        {EUROPE: ("location: europe-west4", "location: Europe West 4")},
        [f"{EUROPE}: location: found `Europe West 4`; allowed a Google region, such as europe-west4"]),
    "a location that is a list": (
        {EUROPE: ("location: europe-west4", "location: [europe-west4]")},
        [f"{EUROPE}: location: found a list; allowed a Google region, such as europe-west4"]),
    "two regions in one location": (
        {"us-west1.yaml": REGION.replace("us-west1", "europe-west4")},
        [f"us-west1.yaml: location: found `europe-west4` again, as in {EUROPE}; allowed one region in each location"]),
    "two regions for one source of traffic": (
        {"us-west1.yaml": REGION + "geo: europe-west4\n"},
        [f"us-west1.yaml: geo: found `europe-west4` again, as in {EUROPE}; allowed clients of each location sent to one region"]),
    "a zone twice": (
        {EUROPE: ("wave: first", "wave: first\nzones: [a, b, a]")},
        [f"{EUROPE}: zones[2]: found `a` again, as in zones[0]; allowed each item once"]),
    "zones by full name": (
        {EUROPE: ("wave: first", "wave: first\nzones: [europe-west4-a]")},
        [f"{EUROPE}: zones[0]: found `europe-west4-a`; allowed the letter of a zone, such as b"]),
    "no zones": (
        {EUROPE: ("wave: first", "wave: first\nzones: []")},
        [f"{EUROPE}: zones: found an empty list; allowed a list of one or more, each the letter of a zone, such as b"]),
    # Pools.
    "spot pools alone": (
        {ASIA: ("on-demand: { machine: n2-standard-4, min: 2, max: 6 }", "more: { machine: n2-standard-4, min: 2, max: 6, spot: true }")},
        [f"{ASIA}: pools: found spot pools alone; allowed pools that are not spot with 2 nodes or more (max) in all"]),
    "a fallback of one node": (
        {ASIA: ("min: 2, max: 6", "min: 1, max: 1")},
        [f"{ASIA}: pools: found pools that are not spot with 1 node at most; allowed pools that are not spot with 2 nodes or more (max) in all"]),
    "a pool with more at least than at most": (
        {ASIA: ("min: 2, max: 6", "min: 7, max: 6")},
        [f"{ASIA}: pools.on-demand.min: found the number `7`; allowed a whole number from 0 to max, which is 6"]),
    "a number in quotes": (
        {ASIA: ("min: 2, max: 6", 'min: "2", max: 6')},
        [f"{ASIA}: pools.on-demand.min: found the text `2`; allowed a whole number from 0 to 1000"]),
    "half a node": (
        {ASIA: ("min: 2, max: 6", "min: 2, max: 6.5")},
        [f"{ASIA}: pools.on-demand.max: found the number `6.5`; allowed a whole number from 1 to 1000"]),
    "more nodes than a cluster takes": (
        {ASIA: ("min: 2, max: 6", "min: 2, max: 6000")},
        [f"{ASIA}: pools.on-demand.max: found the number `6000`; allowed a whole number from 1 to 1000"]),
    "a spot that is neither true nor false": (
        {ASIA: ("spot: true", "spot: sometimes")},
        [f"{ASIA}: pools.spot.spot: found the text `sometimes`; allowed true or false"]),
    "a pool that is a text": (
        {ASIA: ("{ machine: n2-standard-4, min: 2, max: 6 }", "n2-standard-4")},
        [f"{ASIA}: pools.on-demand: found `n2-standard-4`; allowed a map with the keys machine, max, min, spot"]),
    "a name of a pool that is none": (
        {ASIA: ("  on-demand:", "  On_Demand:")}, [f"{ASIA}: pools.On_Demand: found the name `On_Demand`; allowed {NAME}"]),
    "a pool with the name of Vault's": (
        {ASIA: ("  on-demand:", "  vault:")},
        [f"{ASIA}: pools.vault: found the name `vault`; allowed another name: the pool of the region's Vault has this one"]),
    "no pools anywhere": (
        {OWN: ("  pools:\n    spot: { machine: e2-standard-4, min: 1, max: 8, spot: true }\n    on-demand: { machine: e2-standard-4, min: 2, max: 6 }", "  zones: [a, b, c]")},
        [f"{file}: pools: found nothing; allowed a map of one or more names" for file in (EUROPE, "us-east4.yaml")]),
    "a map of no pools": (
        {EUROPE: ("wave: first", "wave: first\npools: {}")},
        [f"{EUROPE}: pools: found an empty map; allowed a map of one or more names"]),
    "a default that is wrong, told once": (
        {OWN: ("min: 2, max: 6", "min: 2, max: 0")},
        [f"{OWN}: defaults.pools.on-demand.max: found the number `0`; allowed a whole number from 1 to 1000"]),
    # Vault.
    "a Vault without an address": (
        {EUROPE: vault("{ in_cluster: false }")},
        [f"{EUROPE}: vault.address: found nothing; allowed an address such as https://vault.example.com:8200, without a path"]),
    "a Vault without TLS": (
        {EUROPE: vault("{ address: \"http://vault.example:8200\" }")},
        [f"{EUROPE}: vault.address: found `http://vault.example:8200`; allowed an address such as https://vault.example.com:8200, without a path"]),
    "a port-forward to no Service": (
        {EUROPE: vault("{ address: \"https://vault.example:8200\", port_forward: true }")},
        [f"{EUROPE}: vault.address: found `https://vault.example:8200`; allowed with port_forward the name of a Service, such as https://vault-active.vault.svc:8200"]),
    "a port-forward out of the cluster": (
        {EUROPE: vault("{ address: \"https://vault.vault.svc\", port_forward: true, in_cluster: false }")},
        [f"{EUROPE}: vault.port_forward: found `true`; allowed false for a Vault that is not in the region's cluster (in_cluster)"]),
    # The environment.
    "a project that another environment has": (
        {OWN: ("project: meridian-production", "project: meridian-staging")},
        [f"{OWN}: project: found `meridian-staging` again, as in staging/_environment.yaml; allowed a project that no other environment has"]),
    "an order that another environment has": (
        {OWN: ("order: 3", "order: 2")},
        [f"{OWN}: order: found `2` again, as in staging/_environment.yaml; allowed a place in the order that no other environment has"]),
    "a domain that another environment has": (
        {OWN: ("domain: meridian.example", "domain: qa.meridian.example")},
        [f"{OWN}: domain: found `qa.meridian.example` again, as in qa/_environment.yaml; allowed a name that no other environment has"]),
    "a project id that is none": (
        {OWN: ("project: meridian-production", "project: Meridian")},
        [f"{OWN}: project: found `Meridian`; allowed the id of a Google project: 6 to 30 small letters, digits and hyphens, a letter first, no hyphen at the end"]),
    "a domain of one name": (
        {OWN: ("domain: meridian.example", "domain: meridian")},
        [f"{OWN}: domain: found `meridian`; allowed a DNS name in small letters with a dot in it, such as qa.example.com, at most 200 characters"]),
    "no waves": (
        {OWN: ("waves: [first, second]", "waves: []")},
        [f"{OWN}: waves: found an empty list; allowed a list of one or more, each {WAVE}"]),
    "a project of CircleCI that is no id": (
        {OWN: (f"project: {PIPELINE}", "project: meridian")},
        [f"{OWN}: pipeline.project: found `meridian`; allowed {UUID}"]),
    "a pipeline without a context that promotes": (
        {OWN: ("{ promoter: a1e4c7d2-4111-4c8f-b6a9-52d0e8f4c003, ", "{ ")},
        [f"{OWN}: pipeline.contexts.promoter: found nothing; allowed {UUID}"]),
    "a pipeline that is a text": (
        {OWN: ("pipeline:\n  organisation: 0f8b3c5e-1111-4e6a-9d2b-7c41a5e9d001\n"
               f"  project: {PIPELINE}\n"
               "  contexts: { promoter: a1e4c7d2-4111-4c8f-b6a9-52d0e8f4c003, rotator: c93b5f08-4111-4f1d-9e72-8b6d4a2fe004 }",
               "pipeline: circleci")},
        [f"{OWN}: pipeline: found `circleci`; allowed a map with the keys contexts, issuer, organisation, project"]),
    # Files.
    "a name of a region that is none": (
        {"Us_West.yaml": REGION}, [f"Us_West.yaml: found the name `Us_West`; allowed {NAME}"]),
    "a name of a region that is too long": (
        {"northamerica-northeast1.yaml": REGION},
        ["northamerica-northeast1.yaml: found a name that makes `meridian-production-northamerica-northeast1` (43 characters) of its cluster; allowed at most 40 characters there"]),
    "an ending that is no region's": (
        {"us-west1.yml": REGION},
        ["us-west1.yml: found the ending .yml; allowed _environment.yaml, and REGION.yaml for each region"]),
    "a file that is no YAML": (
        {EUROPE: ("wave: first", "wave: [first")}, [f"{EUROPE}: found what is not YAML; allowed YAML; `regions validate` shows the line"]),
    "an empty file": (
        {"us-west1.yaml": ""}, [f"us-west1.yaml: found an empty file; allowed the keys {REGION_KEYS}"]),
    "a file that is a list": (
        {"us-west1.yaml": MODELINE + "- location: us-west1\n"},
        [f"us-west1.yaml: found a list; allowed a map with the keys {REGION_KEYS}"]),
    "no region": (
        {EUROPE: None, ASIA: None, "us-east4.yaml": None}, [".: found no region; allowed one file for each region"]),
    "no environment": (
        {OWN: None}, [".: found no _environment.yaml; allowed _environment.yaml in the folder of each environment"]),
    "several problems, all told at once": (
        {EUROPE: ("range: 10.0.0.0/14", "range: 10.4.0.0/14"), ASIA: ("wave: second", "wave: third"), OWN: ("order: 3", "order: none")},
        [f"{OWN}: order: found the text `none`; allowed a whole number from 1 to 1000",
         f"us-east4.yaml: range: found `10.4.0.0/14`, which overlaps `10.4.0.0/14` ({EUROPE}); allowed a range apart from those of the environment's other regions",
         f"{ASIA}: wave: found `third`; allowed first, second"]),
}

# `regions validate` takes the misspelt key for the missing one, and says so in a hint.
MEANT = {"an environment without its secrets": f"{OWN}: secrets: "}
# It also tells what follows: Vaults, whose addresses Terraform does not use, under one name.
FOLLOWS = {"a domain that another environment has": "vault.address"}


def checks(check, skip, space, regions):
    for what, (edits, messages) in BROKEN.items():
        check(f"catalogue: {what} is refused", refused, space, edits, messages)
    title = f"catalogue: `regions validate` finds the same in all {len(BROKEN)} of them"
    if regions:
        check(title, alike, space, regions)
    else:
        skip(title, "regions is not built; cargo build --package regions")
    check("catalogue: what it allows at its bounds is planned", bounds, space)


def refused(space, edits, messages):
    folder, catalogue = space.environment("production"), space.catalogue("production")
    with space.edited(catalogue, {name: edit(catalogue / name, how) for name, how in edits.items()}):
        errors = space.errors(folder)
    # One error for the environment's file and one for the regions' at most, and no other beside them.
    assert 1 <= len(errors) <= 2, "\n".join(errors) or "the catalogue was planned"
    said = "\n".join(errors)
    # No line but those that the edit explains.
    told = [line.removeprefix("Invalid value for variable: ") for line in said.splitlines() if ": found " in line]
    assert sorted(told) == sorted(messages), "wanted:\n" + "\n".join(messages) + f"\nsaid:\n{said}"


def alike(space, regions):
    """The facts of every broken catalogue, as Terraform's asserted messages and as `regions validate` tell them."""
    catalogue = space.catalogue("production")
    for what, (edits, messages) in BROKEN.items():
        with space.edited(catalogue, {name: edit(catalogue / name, how) for name, how in edits.items()}):
            command = [regions, "--catalogue", catalogue.parent, "--output", "json", "validate"]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert ran.returncode == 2, f"{what}: regions validate ended with {ran.returncode}: {ran.stdout}{ran.stderr}"
        theirs = {
            fact(str(Path(one["file"]).relative_to(catalogue.parent)), one["key"], one["found"], one["allowed"])
            for one in json.loads(ran.stdout)["errors"]
            if not one["allowed"].startswith("# yaml-language-server") and one["key"] != FOLLOWS.get(what)
        }
        ours = {parsed(message) for message in messages if not message.startswith(MEANT.get(what, "\n"))}
        assert ours == theirs, f"{what}:\nTerraform: {sorted(map(str, ours))}\nregions:   {sorted(map(str, theirs))}"


def parsed(message):
    file, key, found, allowed = re.fullmatch(r"(\S+): (?:(\S+): )?found (.*?); allowed (.*)", message).groups()
    return fact("production" if file == "." else f"production/{file}", key or "", found, allowed)


def fact(file, key, found, allowed):
    """A problem without what only one side can say: lines, and which of two files that do not go together is told of."""
    if found.startswith("what is not YAML"):
        return (file, "what is not YAML")
    if again := re.fullmatch(r"(`.*`) again, (?:as in|first at) (\S+?)(?::\d+)?", found):
        value, other = again.groups()
        if not other.startswith(key.split("[")[0] + "["):
            return (frozenset({file, place(other)}), key, value, allowed)
    if overlap := re.fullmatch(r"(`.*`), which overlaps (`.*`) \((\S+?)(?::\d+)?\)", found):
        own, others, other = overlap.groups()
        return (frozenset({(file, own), (place(other), others)}), key, allowed)
    return (file, key, found, allowed)


def place(file):
    """ENVIRONMENT/FILE of a file that is named from the folder of production, from the catalogue, or from the root."""
    return "/".join(Path("production", file).parts[-2:])


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
