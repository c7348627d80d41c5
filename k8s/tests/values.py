"""Which values the chart reads, and that its keys are the catalogue's."""

import json

import manifests
import mutate
import rendering
import values_schema
from rendering import changed, template_values
from report import check

# A region that gives every key, so that each can be changed.
FULL = rendering.values_of(rendering.CATALOGUES[0], "production", "us-east4") | {
    "zones": ["b", "c"],
    "geo": "us-east1",
    "kubernetes": {"context": "elsewhere"},
    "watcher": {"address": "https://watcher.example:9092"},
    "approle": ["service"],
    "freezes": [{"from": "2026-12-18T18:00:00Z", "until": "2027-01-04T06:00:00Z", "why": "holidays"}],
}

# Each value, and another that is valid there. The first table is what the chart reads.
READ = {
    "environment": "another",
    "region": "another",
    "domain": "another.example",
    "range": "10.12.0.0/14",
    "ceilings.token_life": "59m",
    "ceilings.jwks_max_age": "59m",
    "ceilings.leeway": "59s",
    "ceilings.skew": "59s",
    "secrets.another": {"kind": "value"},
    "workload.min": 3,
    "workload.max": 9,
    "workload.cpu": 71,
    "defaults.pools.spot.spot": False,
    "pools": {"on-demand": {"machine": "e2-standard-4", "min": 2, "max": 6}},
    "vault": {"address": "https://vault.example:8200"},
    "vault.address": "https://10.4.0.9:8201",
    "defaults.vault": {"address": "https://vault.example:8200"},
}
NOT_READ = {
    "order": 4,
    "project": "another-project",
    "waves": ["second", "third"],
    "wave": "first",
    "bake.time": "31m",
    "bake.samples": 1,
    "gates.error_ratio": 0.02,
    "gates.latency_p99": "251ms",
    "gates.client_error_shift": 0.1,
    "freezes": [{"from": "2026-12-18T18:00:00Z", "until": "2027-01-04T06:00:00Z", "why": "another"}],
    "secrets.tls.generator": "random",
    "location": "europe-west1",
    "geo": "europe-west1",
    "zones": ["d"],
    "kubernetes.context": "another",
    "watcher.address": "https://another.example:9092",
    "approle": ["service", "watcher"],
    "pipeline.organisation": "0f8b3c5e-9999-4e6a-9d2b-7c41a5e9d001",
    "pipeline.project": "6d2f9a7c-9999-4b0e-8a53-1e9c3f7bd002",
    "pipeline.contexts.promoter": "a1e4c7d2-9999-4c8f-b6a9-52d0e8f4c003",
    "pipeline.contexts.rotator": "c93b5f08-9999-4f1d-9e72-8b6d4a2fe004",
    "defaults.pools.spot.machine": "n2-standard-4",
    "defaults.pools.spot.min": 2,
    "defaults.pools.spot.max": 9,
    "defaults.pools.on-demand.machine": "n2-standard-4",
    "defaults.pools.on-demand.min": 1,
    "defaults.pools.on-demand.max": 7,
}
# Fixed by the design: another value is refused.
FIXED = ["secrets.config.kind", "secrets.tls.kind", "secrets.clients.kind", "secrets.clients.generator",
         "secrets.signing-keys.kind", "secrets.signing-keys.generator"]


def changes_the_manifest(name, value, read):
    before = template_values(FULL)
    after = template_values(changed(FULL, name.split("."), value))
    assert (before != after) == read, "nothing changed" if read else "the manifest changed"


def no_value_is_forgotten():
    known = [tuple(name.split(".")) for name in [*READ, *NOT_READ, *FIXED]]
    paths = mutate.leaves(FULL)
    forgotten = [path for path in paths if not any(path[:len(k)] == k for k in known)]
    assert not forgotten, f"in neither table: {forgotten}"


def a_region_replaces_a_default_whole():
    pools = {"only": {"machine": "e2-standard-4", "min": 2, "max": 6}}
    pod = rendering.only(template_values(changed(FULL, ["pools"], pools)), "Deployment")["spec"]["template"]["spec"]
    assert not any("gke-spot" in t["key"] for t in pod["tolerations"]), "the default's spot pool is still seen"


def vault_is_told_and_reached(address):
    values = changed(FULL, ["vault", "address"], address)
    objects = template_values(values)
    manifests.the_catalogue_is_told(objects, values)
    manifests.flows_are_the_few_that_are_needed(objects, values)


def the_files_use_every_required_key():
    schema = json.loads(values_schema.FILE.read_text())
    used = set()
    for _, *region in rendering.regions():
        used |= set(rendering.values_of(*region))
    assert used <= set(schema["properties"]), used - set(schema["properties"])
    assert set(schema["required"]) <= used
    assert set(schema["properties"]["defaults"]["properties"]) < set(schema["properties"])


def run():
    """Every value, changed, and seen in the manifest or not, as the tables say."""
    for name, value in READ.items():
        check(f"read: {name}", changes_the_manifest, name, value, True)
    for name, value in NOT_READ.items():
        check(f"not read: {name}", changes_the_manifest, name, value, False)
    check("every value stands in one of the tables", no_value_is_forgotten)
    check("a region's key replaces the environment's default whole", a_region_replaces_a_default_whole)
    for address in ["https://vault.example:8200", "https://vault.example", "https://10.4.0.9:8201", "https://10.4.0.9"]:
        check(f"Vault at {address} is told to the agent, and may be reached", vault_is_told_and_reached, address)
    check("keys are those of the catalogue's files", the_files_use_every_required_key)
    check("the chart's schema is made from the catalogue's", values_schema.is_current)
