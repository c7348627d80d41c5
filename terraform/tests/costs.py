"""What a region costs, in what Google bills: counted from the plan. Prices change, quantities are ours."""

import os

import plans
from workspace import ENVIRONMENTS, TERRAFORM, resources

FILE = TERRAFORM / "COSTS.md"
HEAD = """# What a region costs

Quantities, counted from the plans (`UPDATE=1 terraform/tests/run costs` writes this page anew, and a test sees that it is
current). Prices differ by region and by month: Google's calculator takes these numbers as they stand.

What the catalogue decides is the nodes: `min` of the pools that are not spot always runs, what is between `min` and `max`
runs under load alone, and spot nodes are sold at the spot price. The bill tells regions apart by the label
`meridian-region`, and namespaces within one by GKE's cost allocation.

| environment | region | nodes that always run | more under load | spot, at least to at most | Vault's nodes |
|---|---|---|---|---|---|
"""
TAIL = """
Beside its nodes, each with {disk} GB of {kind}, a region has:

| how many | what |
|---|---|
{each}
and grows by what is used: traffic out of Google's network, NAT by the gigabyte, flow logs (half of all flows), logs and
metrics, snapshots of the last {days} days.

Each environment has, whatever its regions: {shared}.
"""
# Resource types that are billed by the piece, as people say them.
BILLED = {
    "google_container_cluster": "regional cluster (fee by the hour)",
    "google_compute_address external": "public address, with its forwarding rule",
    "google_compute_address internal": "internal address, with its forwarding rule",
    "google_compute_router_nat": "NAT gateway",
    "google_kms_crypto_key": "key in Cloud KMS, with its versions of the last years",
    "google_dns_managed_zone": "DNS zone",
    "google_compute_health_check": "health check, asked by nine probers every 30 s for each region",
    "google_storage_bucket": "bucket",
}


def checks(check, space):
    check("costs: the note per region is current", current, space)


def current(space):
    made = HEAD
    for environment in ENVIRONMENTS:
        planned = resources(plans.still(space, environment))
        for region in sorted(plans.regions(space, environment)):
            made += row(environment, region, planned)
    pieces, shared = counted(space)
    [vault] = {values["node_config"][0]["disk_size_gb"] for address, values in planned.items() if "node_pool" in address}
    [kind] = {values["node_config"][0]["disk_type"] for address, values in planned.items() if "node_pool" in address}
    [days] = {values["lifecycle_rule"][0]["condition"][0]["age"] for address, values in planned.items() if "google_storage_bucket.snapshots" in address}
    each = "".join(f"| {number} | {BILLED[what]} |\n" for what, number in pieces.items())
    each += "| 3 × 10 GB | disk of Vault's servers (persistent volumes) |\n"
    says = ", ".join(f"{number} {BILLED[what]}" for what, number in shared.items())
    made += TAIL.format(disk=vault, kind=kind, each=each, days=days, shared=says)
    if os.environ.get("UPDATE"):
        FILE.write_text(made)
    assert FILE.exists() and FILE.read_text() == made, "COSTS.md is not what is planned. If it is meant: UPDATE=1 terraform/tests/run costs"


def row(environment, region, planned):
    prefix = f'module.region["{region}"].google_container_node_pool.this'
    pools = [values for address, values in planned.items() if address.startswith(prefix)]
    lasting, more, spot = [], [], []
    for pool in sorted(pools, key=lambda pool: pool["name"]):
        machine, least, most = pool["node_config"][0]["machine_type"], *(pool["autoscaling"][0][f"total_{end}_node_count"] for end in ("min", "max"))
        if pool["node_config"][0]["spot"]:
            spot.append(f"{least} to {most} × {machine}")
        else:
            lasting.append(f"{least} × {machine}")
            more.append(f"{most - least} × {machine}")
    vault = planned[f'module.vault["{region}"].google_container_node_pool.vault']
    zones = len(planned[f'module.region["{region}"].google_container_cluster.this'].get("node_locations", [])) or 3
    servers = f"{vault['node_count'] * zones} × {vault['node_config'][0]['machine_type']}"
    return "| " + " | ".join([environment, region, *(", ".join(part) or "none" for part in (lasting, more, spot)), servers]) + " |\n"


def counted(space):
    """What each region has, the same in every one, and what an environment has beside."""
    every, shared = [], {}
    for environment in ENVIRONMENTS:
        planned, own = plans.still(space, environment), {region: {} for region in plans.regions(space, environment)}
        shared = {}
        for change in planned["resource_changes"]:
            what = change["type"]
            if what == "google_compute_address":
                what += f" {change['change']['after']['address_type'].lower()}"
            if what in BILLED and change["mode"] == "managed":
                region = next((region for region in own if f'["{region}"]' in change["address"]), None)
                counts = shared if region is None else own[region]
                counts[what] = counts.get(what, 0) + 1
        every += own.values()
    assert all(one == every[0] for one in every), every
    return {what: every[0][what] for what in BILLED if what in every[0]}, shared
