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
DNS = pod("kube-system", k8s_app="kube-dns")
CLIENT = {"ip": "203.0.113.9"}
METADATA = {"ip": "169.254.169.254"}
NODE_DNS = {"ip": "169.254.20.10"}

# What reaches the service's pods, and what does not: (from, port, protocol, allowed). Replies need no rule.
TO_SERVICE = [
    (CLIENT, 8443, "TCP", True),
    (named("stranger", "default"), 8443, "TCP", True),
    (CLIENT, 8443, "UDP", False),
    (CLIENT, 8080, "TCP", False),
]
for port in (9090, 9091):
    TO_SERVICE += [
        (named("watcher"), port, "TCP", True),
        (pod("gmp-system", name="collector"), port, "TCP", True),
        (pod("monitoring", name="prometheus"), port, "TCP", True),
        (CLIENT, port, "TCP", False),
        (SERVICE, port, "TCP", False),
        (DNS, port, "TCP", False),
        (named("other"), port, "TCP", False),
        (named("stranger", "default"), port, "TCP", False),
        (named("watcher", "default"), port, "TCP", False),
        (named("watcher"), port, "UDP", False),
        (pod("gmp-system", name="collector"), port, "UDP", False),
    ]
TO_SERVICE += [(named("watcher"), 22, "TCP", False), (pod("monitoring", name="prometheus"), 22, "TCP", False)]

# What they reach themselves.
FROM_SERVICE = [
    (pod("vault", name="vault"), 8200, "TCP", True),
    (pod("vault", name="vault"), 22, "TCP", False),
    (pod("vault", name="vault"), 8200, "UDP", False),
    (CLIENT, 53, "UDP", False),
    (METADATA, 80, "TCP", False),
    (NODE_DNS, 80, "TCP", False),
    (DNS, 8080, "TCP", False),
    (DNS, 8080, "UDP", False),
    (SERVICE, 9091, "TCP", False),
]
for protocol in ("UDP", "TCP"):
    FROM_SERVICE += [
        (DNS, 53, protocol, True),
        (pod("kube-system", k8s_app="node-local-dns"), 53, protocol, True),
        (NODE_DNS, 53, protocol, True),
        (METADATA, 53, protocol, True),
        (pod("kube-system", k8s_app="metrics-server"), 53, protocol, False),
        (pod("default", k8s_app="kube-dns"), 53, protocol, False),
    ]

# Pods of the namespace that no other policy selects.
TO_OTHERS = [(CLIENT, 8443, "TCP", False), (SERVICE, 80, "TCP", False), (named("watcher"), 9091, "TCP", False)]
FROM_OTHERS = [(CLIENT, 443, "TCP", False), (DNS, 53, "UDP", False), (SERVICE, 8443, "TCP", False)]


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


def wrong(policies, vault_anywhere=False):
    """The flows that are not as they should be, each seen from the end whose policies are rendered here."""
    other = named("other")
    table = [] if vault_anywhere else [("Egress", SERVICE, TO_ANYWHERE)]
    table += [("Ingress", SERVICE, TO_SERVICE), ("Egress", SERVICE, FROM_SERVICE)]
    table += [("Ingress", other, TO_OTHERS), ("Egress", other, FROM_OTHERS)]
    return [
        f"{kind} of {here['labels']}: {there} {port}/{protocol} should be {'allowed' if wanted else 'denied'}"
        for kind, here, flows in table
        for there, port, protocol, wanted in flows
        if side_allows(policies, kind, here, there, port, protocol) != wanted
    ]
