"""Who may speak to whom, as NetworkPolicies say it. The local network does not enforce them, so they are read
as the Kubernetes API describes them: a pod that no policy selects is open, else one rule must allow the flow."""

import ipaddress

OWN = "meridian"


def pod(namespace, **labels):
    """A pod, with `_` for `-` in the names of its labels."""
    return {"namespace": namespace, "labels": {k.replace("_", "-"): v for k, v in labels.items()}, "ip": "10.1.9.9"}


def named(name, namespace=OWN):
    """A pod with the label that names its application."""
    return pod(namespace, **{"app.kubernetes.io/name": name})


SERVICE = named("service")
WATCHER = named("watcher")
DNS = pod("kube-system", k8s_app="kube-dns")
PROXY = pod("kube-system", k8s_app="konnectivity-agent")
CLIENT = {"ip": "203.0.113.9"}
METADATA = {"ip": "169.254.169.254"}
NODE_DNS = {"ip": "169.254.20.10"}
# Who reads metrics, where the catalogue names one.
COLLECTORS = {"gmp-system": pod("gmp-system", name="collector"), "monitoring": pod("monitoring", name="prometheus")}

# What reaches the service's pods, and what does not: (from, port, protocol, allowed). Replies need no rule.
TO_SERVICE = [
    (CLIENT, 8443, "TCP", True),
    (named("stranger", "default"), 8443, "TCP", True),
    (CLIENT, 8443, "UDP", False),
    (CLIENT, 8080, "TCP", False),
]
for port in (9090, 9091):
    TO_SERVICE += [
        (WATCHER, port, "TCP", True),
        (CLIENT, port, "TCP", False),
        (SERVICE, port, "TCP", False),
        (DNS, port, "TCP", False),
        (PROXY, port, "TCP", False),
        (named("other"), port, "TCP", False),
        (named("stranger", "default"), port, "TCP", False),
        (named("watcher", "default"), port, "TCP", False),
        (WATCHER, port, "UDP", False),
    ]
TO_SERVICE += [(WATCHER, 22, "TCP", False)]

# What every pod of ours needs, and what none may: DNS, Vault and nothing beside them.
FROM_EACH = [
    (pod("vault", name="vault"), 8200, "TCP", True),
    (pod("vault", name="vault"), 22, "TCP", False),
    (pod("vault", name="vault"), 8200, "UDP", False),
    (CLIENT, 53, "UDP", False),
    (METADATA, 80, "TCP", False),
    (NODE_DNS, 80, "TCP", False),
    (DNS, 8080, "TCP", False),
    (DNS, 8080, "UDP", False),
    (WATCHER, 9092, "TCP", False),
    (named("other"), 9091, "TCP", False),
    (named("service", "default"), 9091, "TCP", False),
]
for protocol in ("UDP", "TCP"):
    FROM_EACH += [
        (DNS, 53, protocol, True),
        (pod("kube-system", k8s_app="node-local-dns"), 53, protocol, True),
        (NODE_DNS, 53, protocol, True),
        (METADATA, 53, protocol, True),
        (pod("kube-system", k8s_app="metrics-server"), 53, protocol, False),
        (pod("default", k8s_app="kube-dns"), 53, protocol, False),
    ]
FROM_SERVICE = FROM_EACH + [(SERVICE, port, "TCP", False) for port in (8443, 9090, 9091)]

# The watcher asks every pod of the workload, and is asked through the API server alone.
FROM_WATCHER = FROM_EACH + [
    *((SERVICE, port, "TCP", True) for port in (8443, 9090, 9091)),
    *((SERVICE, port, "UDP", False) for port in (8443, 9090, 9091)),
    (SERVICE, 22, "TCP", False),
]
TO_WATCHER = [
    (PROXY, 9092, "TCP", True),
    (PROXY, 9092, "UDP", False),
    (PROXY, 22, "TCP", False),
    (pod("default", k8s_app="konnectivity-agent"), 9092, "TCP", False),
    *((there, 9092, "TCP", False) for there in (CLIENT, SERVICE, DNS, WATCHER, named("other"), *COLLECTORS.values())),
]

# Pods of the namespace that no other policy selects.
TO_OTHERS = [(CLIENT, 8443, "TCP", False), (SERVICE, 80, "TCP", False), (WATCHER, 9091, "TCP", False)]
FROM_OTHERS = [(CLIENT, 443, "TCP", False), (DNS, 53, "UDP", False), (SERVICE, 8443, "TCP", False)]


def from_collectors(chosen):
    """Metrics are read from the one namespace that the catalogue chose, if it chose one."""
    return [
        (collector, port, protocol, (name, protocol) == (chosen, "TCP") and port != 22)
        for name, collector in COLLECTORS.items()
        for port in (9090, 9091, 22)
        for protocol in ("TCP", "UDP")
    ]


def matches(selector, labels):
    """Whether a label selector takes these labels."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions", []):
        value, wanted = labels.get(rule["key"]), rule.get("values", [])
        taken = {
            "In": value in wanted,
            "NotIn": value not in wanted,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[rule["operator"]]
        if not taken:
            return False
    return True


def peer_taken(peer, end, namespace):
    """Whether one `from` or `to` takes one end of a flow."""
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        address = ipaddress.ip_address(end["ip"])
        inside = address in ipaddress.ip_network(block["cidr"])
        return inside and not any(address in ipaddress.ip_network(c) for c in block.get("except", []))
    if "namespace" not in end:
        return False
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": end["namespace"]}):
            return False
    elif end["namespace"] != namespace:
        return False
    return matches(peer.get("podSelector", {}), end["labels"])


def side_allows(policies, kind, here, there, port, protocol):
    """Whether the policies of one end allow a flow; `kind` is Ingress or Egress."""
    mine = [
        p for p in policies
        if p["metadata"]["namespace"] == here["namespace"]
        and kind in p["spec"]["policyTypes"]
        and matches(p["spec"]["podSelector"], here["labels"])
    ]
    if not mine:
        return True
    direction, end = ("ingress", "from") if kind == "Ingress" else ("egress", "to")
    for policy in mine:
        for rule in policy["spec"].get(direction) or []:
            ports = rule.get("ports")
            port_taken = not ports or any(
                p.get("protocol", "TCP") == protocol and p.get("port") in (None, port) for p in ports
            )
            peers = rule.get(end)
            namespace = policy["metadata"]["namespace"]
            if port_taken and (not peers or any(peer_taken(p, there, namespace) for p in peers)):
                return True
    return False


# Denied unless Vault stands behind a name that the catalogue gives, and so at an address that is not known here.
TO_ANYWHERE = [
    (there, port, "TCP", False) for there in (CLIENT, pod("default", name="vault")) for port in (443, 8200)
]


def wrong(policies, collectors, vault_anywhere=False):
    """The flows that are not as they should be, each seen from the end whose policies are rendered here."""
    other = named("other")
    table = [] if vault_anywhere else [("Egress", SERVICE, TO_ANYWHERE), ("Egress", WATCHER, TO_ANYWHERE)]
    table += [("Ingress", SERVICE, TO_SERVICE + from_collectors(collectors)), ("Egress", SERVICE, FROM_SERVICE)]
    table += [("Ingress", WATCHER, TO_WATCHER), ("Egress", WATCHER, FROM_WATCHER)]
    table += [("Ingress", other, TO_OTHERS), ("Egress", other, FROM_OTHERS)]
    return [
        f"{kind} of {here['labels']}: {there} {port}/{protocol} should be {'allowed' if wanted else 'denied'}"
        for kind, here, flows in table
        for there, port, protocol, wanted in flows
        if side_allows(policies, kind, here, there, port, protocol) != wanted
    ]
