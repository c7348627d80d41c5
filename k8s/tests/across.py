"""What stands in two places at once, beside each other: the chart, the catalogue, what Terraform plans from it, and the
programs' own sources."""

import json
import re


import examples
import manifests
import rendering
from rendering import CATALOGUES, NAMESPACE, ROOT, only
from report import check

POOL = re.compile(r'region\["([^"]+)"\].*google_container_node_pool\.[a-z_]+\["([^"]+)"\]$')
EFFECTS = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}


def source(path):
    return (ROOT / path).read_text()


def only_match(pattern, text):
    found = re.findall(pattern, text)
    assert len(found) == 1, f"{pattern}: {found}"
    return found[0]


def planned():
    """(environment, region, pool, node_config) of every pool that the catalogue names, as Terraform plans it."""
    for environment in sorted(path.name for path in CATALOGUES[0].iterdir() if path.is_dir()):
        inventory = json.loads(source(f"terraform/tests/golden/{environment}.json"))
        for address, resource in inventory.items():
            if place := POOL.search(address):
                values = rendering.values_of(CATALOGUES[0], environment, place[1])
                if place[2] in manifests.pools(values):
                    yield environment, place[1], place[2], resource["node_config"][0]


def every_taint_is_tolerated(rendered):
    count = 0
    for environment, region, pool, config in planned():
        objects, values = rendered[f"regions/{environment}/{region}"]
        tolerations = manifests.pod(objects)["tolerations"]
        taints = [taint | {"effect": EFFECTS[taint["effect"]]} for taint in config.get("taint", [])]
        assert bool(taints) == bool(manifests.pools(values)[pool].get("spot")), f"{environment}/{region}: {pool}: {taints}"
        for taint in taints:
            count += 1
            assert any(manifests.tolerates(t, taint) for t in tolerations), f"{environment}/{region}: {pool}: {taint}"
    assert count >= 6, f"{count} taints are few"


def every_pool_of_the_catalogue_is_planned(rendered):
    seen = {(environment, region, pool) for environment, region, pool, _ in planned()}
    wanted = set()
    for label, (_, values) in rendered.items():
        catalogue, environment, region = label.split("/")
        if catalogue == "regions":
            wanted |= {(environment, region, pool) for pool in manifests.pools(values)}
    assert seen == wanted, seen ^ wanted


def pods_find_the_labels_that_they_spread_over(rendered):
    """A hard rule over a label that nodes lack leaves pods pending."""
    for environment, region, pool, config in planned():
        objects, _ = rendered[f"regions/{environment}/{region}"]
        for rule in manifests.pod(objects)["topologySpreadConstraints"]:
            if rule["whenUnsatisfiable"] == "DoNotSchedule":
                assert config["labels"].get(rule["topologyKey"]) == pool, f"{environment}/{region}: {pool}: {config['labels']}"


def budget(config):
    """Seconds that a pool's nodes give their pods; Google gives those of spot nodes 15."""
    given = [kubelet.get("shutdown_grace_period_seconds") for kubelet in config.get("kubelet_config", [])]
    return next((seconds for seconds in given if seconds), manifests.SPOT_SECONDS if config["spot"] else None)


def every_end_fits_its_pool(rendered):
    """Of every pod that the chart and the examples make."""
    spot = 0
    for environment, region, pool, config in planned():
        seconds = budget(config)
        if seconds is None:
            continue
        spot += 1
        objects, _ = rendered[f"regions/{environment}/{region}"]
        for one in [o for o in objects if o["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job")]:
            spec = one["spec"]["template"]["spec"]
            fits(f"{environment}/{region}: {one['kind']} {one['metadata']['name']}", spec, seconds)
    assert spot >= 6, f"{spot} spot pools are few"
    for file in examples.FILES:
        fits(file.name, examples.template(file)["spec"], manifests.SPOT_SECONDS)


def fits(name, spec, seconds):
    needed = spec.get("terminationGracePeriodSeconds", 30)
    assert needed < seconds, f"{name} ends within {needed} s, and its nodes give {seconds} s"


def budgets_are_told_alike(rendered):
    """By the chart, by the service's own defaults, and by the nodes of the local platform."""
    objects, _ = next(iter(rendered.values()))
    variables = manifests.environment(manifests.service(objects))
    accept, drain = only_match(
        r"accept_for: Span\(Duration::from_secs\((\d+)\)\), drain_for: Span\(Duration::from_secs\((\d+)\)\)",
        source("service/src/configuration/raw.rs"))
    assert variables["SERVICE__SHUTDOWN__ACCEPT_FOR"] == f"{accept}s"
    assert variables["SERVICE__SHUTDOWN__DRAIN_FOR"] == f"{drain}s"
    kubelet = only_match(r'"shutdownGracePeriod": "(\d+)s"', source("local/src/platform/node.rs"))
    assert int(kubelet) == manifests.SPOT_SECONDS


def marks_are_those_of_regions(rendered):
    """The fence judges what `regions` writes, by the names that it writes under."""
    text = source("regions/src/plan/object.rs")
    domain = only_match(r'pub const DOMAIN: &str = "([^"]+)"', text)
    label = only_match(r'pub const OWNER_LABEL: &str = "([^"]+)"', text)
    owner = only_match(r'pub const OWNER: &str = "([^"]+)"', text)
    release = only_match(r'pub const RELEASE_ANNOTATION: &str = "([^"]+)"', text)
    objects, _ = next(iter(rendered.values()))
    policy = only(objects, "ValidatingAdmissionPolicy")["spec"]
    assert policy["matchConstraints"]["objectSelector"] == {"matchLabels": {label: owner}}
    assert f"== '{owner}'" in policy["matchConditions"][0]["expression"]
    assert all(f"[?'{domain}fence']" in variable["expression"] for variable in policy["variables"][:2])
    assert release in manifests.deployment(objects)["template"]["metadata"]["annotations"]
    namespace = only_match(r'pub const NAMESPACE: &str = "([^"]+)"', source("regions/src/cluster/mod.rs"))
    assert namespace == NAMESPACE


def accounts_are_those_that_vault_knows(rendered):
    """Each account's name is a role of Vault's, for the audience of the projected token."""
    audience = only_match(r'const AUDIENCE: &str = "([^"]+)"', source("regions/src/plan/vault/desired.rs"))
    bound = re.findall(r"role\(Identity::(\w+)\),\n", source("regions/src/plan/vault/desired.rs"))
    objects, _ = next(iter(rendered.values()))
    accounts = {o["metadata"]["name"] for o in objects if o["kind"] == "ServiceAccount"}
    assert accounts == {name.lower() for name in bound}, (accounts, bound)
    [projected] = manifests.volumes(objects)["vault-token"]["projected"]["sources"]
    assert projected["serviceAccountToken"]["audience"] == audience
    for file in examples.FILES:
        spec = examples.template(file)["spec"]
        assert spec["serviceAccountName"] in accounts
        [volume] = [v for v in spec["volumes"] if v["name"] == "vault-token"]
        assert volume["projected"]["sources"][0]["serviceAccountToken"]["audience"] == audience


def collectors_are_there(rendered):
    """Where the catalogue leaves metrics to Google, Terraform turns its collectors on."""
    wanted = {manifests.monitoring(values) for label, (_, values) in rendered.items() if label.startswith("regions/")}
    if "google" in wanted:
        text = source("terraform/modules/region/main.tf")
        assert re.search(r"managed_prometheus \{\s+enabled = true", text), "nobody would read the metrics"


def run(rendered):
    """Each fact beside its twin."""
    check("every pool of the catalogue is one that Terraform plans", every_pool_of_the_catalogue_is_planned, rendered)
    check("every taint that Terraform gives a pool is tolerated", every_taint_is_tolerated, rendered)
    check("nodes have the labels that pods must spread over", pods_find_the_labels_that_they_spread_over, rendered)
    check("every pod ends within what its pool gives", every_end_fits_its_pool, rendered)
    check("budgets of the end are told alike everywhere", budgets_are_told_alike, rendered)
    check("the fence goes by the marks that regions leaves", marks_are_those_of_regions, rendered)
    check("service accounts are those that Vault's roles are bound to", accounts_are_those_that_vault_knows, rendered)
    check("where Google reads metrics, its collectors are on", collectors_are_there, rendered)
