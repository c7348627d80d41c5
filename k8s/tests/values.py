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
    "signers": ["MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE0wOAdygno2X3DxZW2BLJvizDggSFHC6QupsfLBcEATIk5h/EetTpWjSwSPKJD8/7H4Xi72QwN5zTi78AWraj0A=="],
}

# Each value, another that is valid there, and the objects that change with it. This table is what the chart reads.
EVERY = "every object"
VAULT = {"Deployment", "NetworkPolicy"}
READ = {
    "environment": ("another", EVERY),
    "region": ("another", EVERY),
    "domain": ("another.example", {"Deployment"}),
    "range": ("10.12.0.0/14", {"NetworkPolicy"}),
    "gates.error_ratio": (0.02, {"Rules"}),
    "gates.latency_p99": ("500ms", {"Rules"}),
    "ceilings.token_life": ("59m", {"Deployment"}),
    "ceilings.jwks_max_age": ("59m", {"Deployment"}),
    "ceilings.leeway": ("59s", {"Deployment"}),
    "ceilings.skew": ("59s", {"Deployment"}),
    "secrets.another": ({"kind": "value"}, {"Deployment"}),
    "workload.min": (3, {"HorizontalPodAutoscaler", "Rules"}),
    "workload.max": (9, {"HorizontalPodAutoscaler", "Rules"}),
    "workload.cpu": (71, {"HorizontalPodAutoscaler"}),
    "defaults.pools.spot.spot": (False, {"Deployment"}),
    "pools": ({"on-demand": {"machine": "e2-standard-4", "min": 2, "max": 6}}, {"Deployment"}),
    "vault": ({"address": "https://vault.example:8200"}, VAULT),
    "vault.address": ("https://10.4.0.9:8201", VAULT),
    "defaults.vault": ({"address": "https://vault.example:8200"}, VAULT),
    "defaults.monitoring": ("operator", {"NetworkPolicy", "PodMonitor", "PodMonitoring", "PrometheusRule", "Rules"}),
    "monitoring": ("none", {"NetworkPolicy", "PodMonitoring", "Rules"}),
}
NOT_READ = {
    "order": 4,
    "project": "another-project",
    "waves": ["second", "third"],
    "wave": "first",
    "bake.time": "31m",
    "bake.samples": 1,
    "gates.client_error_shift": 0.1,
    "freezes": [{"from": "2026-12-18T18:00:00Z", "until": "2027-01-04T06:00:00Z", "why": "another"}],
    "secrets.tls.generator": "random",
    "location": "europe-west1",
    "geo": "europe-west1",
    "zones": ["d"],
    "kubernetes.context": "another",
    "watcher.address": "https://another.example:9092",
    "approle": ["service", "watcher"],
    "signers": ["MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAERnx4a11qPyrMCv+jyCSd0jeeGlpw+GnpBU1/3Ikpzaynyfb4u5mos+LengOZ6Apyx5wL8o56HMyVFdoTg2ng9A=="],
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


def named(objects):
    """Objects by kind and name."""
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


def differing(before, after):
    """The kinds of the objects that differ, or that all do."""
    pairs = [(key, before.get(key), after.get(key)) for key in before | after]
    kinds = {key[0] for key, former, now in pairs if former != now}
    return EVERY if all(former != now for _, former, now in pairs) else kinds


def changes(name, value, wanted):
    """What changes in the manifest with a value."""
    found = differing(named(template_values(FULL)), named(template_values(changed(FULL, name.split("."), value))))
    assert found == wanted, f"{found or 'nothing'} changed, wanted: {wanted or 'nothing'}"


def no_value_is_forgotten():
    known = [tuple(name.split(".")) for name in [*READ, *NOT_READ, *FIXED]]
    paths = mutate.leaves(FULL)
    forgotten = [path for path in paths if not any(path[:len(k)] == k for k in known)]
    assert not forgotten, f"in neither table: {forgotten}"


def a_region_replaces_a_default_whole():
    pools = {"only": {"machine": "e2-standard-4", "min": 2, "max": 6}}
    pod = rendering.only(template_values(changed(FULL, ["pools"], pools)), "Deployment", "service")["spec"]["template"]["spec"]
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
    for name, (value, wanted) in READ.items():
        check(f"read: {name}", changes, name, value, wanted)
    for name, value in NOT_READ.items():
        check(f"not read: {name}", changes, name, value, set())
    check("every value stands in one of the tables", no_value_is_forgotten)
    check("a region's key replaces the environment's default whole", a_region_replaces_a_default_whole)
    for address in ["https://vault.example:8200", "https://vault.example", "https://10.4.0.9:8201", "https://10.4.0.9"]:
        check(f"Vault at {address} is told to the agent, and may be reached", vault_is_told_and_reached, address)
    check("keys are those of the catalogue's files", the_files_use_every_required_key)
    check("the chart's schema is made from the catalogue's", values_schema.is_current)
