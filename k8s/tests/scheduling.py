"""Where the real scheduler puts the chart's pods, on nodes that are only written down."""

import json
import subprocess
import tempfile
from pathlib import Path

import server as real
from rendering import ROOT, only
from report import check, skip
from waiting import until

SPOT = {"key": "cloud.google.com/gke-spot", "value": "true", "effect": "NoSchedule"}
# (zone, pool, spot) of each node.
B, C = ("b", "on-demand", False), ("c", "on-demand", False)
CLUSTERS = {
    "one spot node": [B, C, ("b", "spot", True)],
    "more spot nodes than others": [B, C, *((zone, "spot", True) for zone in "bcdb")],
    "spot nodes in zones of their own": [B, B, ("c", "spot", True), ("d", "spot", True)],
    "two pools of spot nodes": [B, C, ("b", "spot", True), ("d", "spot-large", True)],
}
# Of so many pods, at least so many are off spot nodes.
OFF_SPOT = {2: 2, 3: 2, 4: 2, 5: 2, 6: 2, 8: 3, 10: 4}


def add_node(server, index, zone, pool, spot):
    name = f"node-{index}"
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone, "meridian.internal/pool": pool}
    taints = [SPOT] if spot else []
    if spot:
        labels[SPOT["key"]] = SPOT["value"]
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}}
    size = {"cpu": "3920m", "memory": "13Gi", "pods": "110"}
    ready = {"status": {"capacity": size, "allocatable": size, "conditions": [{"type": "Ready", "status": "True"}]}}
    assert server.call("POST", "/api/v1/nodes", node)[0] == 201
    assert server.call("PATCH", f"/api/v1/nodes/{name}/status", ready, real.MERGE)[0] == 200
    # Admission taints a new node as not ready; no controller is here that takes that away.
    assert server.call("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": taints}}, real.MERGE)[0] == 200


def places(server, path):
    """The node of each pod, once all have one."""
    found = [pod["spec"].get("nodeName") for pod in server.call("GET", path)[1]["items"]]
    return found if all(found) else None


def shares(server, objects, nodes):
    for index, node in enumerate(nodes):
        add_node(server, index, *node)
    spot = {f"node-{index}" for index, node in enumerate(nodes) if node[2]}
    one = real.pod_of(objects)
    path = server.path(one, name=False)
    try:
        for count in range(1, 11):
            one["metadata"]["name"] = f"service-{count}"
            one["metadata"]["labels"]["pod-template-hash"] = "one"
            status, answer, _ = server.call("POST", path, one)
            assert status == 201, answer
            where = until(f"{count} pods are placed", lambda: places(server, path), 20)
            off = [place for place in where if place not in spot]
            assert len(off) >= OFF_SPOT.get(count, 0), f"{count} pods: {sorted(where)}"
            if count == 2:
                assert len(set(where)) == 2, f"both on one node: {where}"
        for pod in server.call("GET", path)[1]["items"]:
            zone = nodes[int(pod["spec"]["nodeName"].removeprefix("node-"))][0]
            found = pod["metadata"]["labels"].get("topology.kubernetes.io/zone")
            assert found == zone, f"{pod['metadata']['name']} is in {zone} and is told {found}"
        share = len(off)
        assert share < 10, "spot nodes are not used"
        print(f"     10 pods: {share} off spot, {10 - share} on {len(spot)} spot nodes")
    finally:
        for pod in server.call("GET", path)[1]["items"]:
            server.call("DELETE", f"{path}/{pod['metadata']['name']}?gracePeriodSeconds=0")
        for index in range(len(nodes)):
            server.call("DELETE", f"/api/v1/nodes/node-{index}")
        until("the pods are gone", lambda: not server.call("GET", path)[1]["items"], 20)


def run(rendered):
    """Two to ten pods, on clusters of several forms."""
    title = "the real scheduler keeps two pods off spot nodes, and shares the others"
    parts = real.programs()
    if parts is None:
        skip(title, "etcd and kube-apiserver are not built; target/debug/local-region tools")
        return
    built = subprocess.run([ROOT / "k8s/tests/common/scheduler"], stdout=subprocess.PIPE, text=True)
    if built.returncode:
        skip(title, "kube-scheduler cannot be built here")
        return
    objects, _ = rendered["regions/production/us-east4"]
    for name, nodes in CLUSTERS.items():
        with tempfile.TemporaryDirectory(prefix="meridian-scheduling.") as folder:
            server = real.ApiServer(Path(folder), *parts)
            try:
                server.begin()
                server.apply(only(objects, "ServiceAccount", "service"))
                file = Path(folder) / "kubeconfig"
                file.write_text(json.dumps(server.kubeconfig()))
                server.start([built.stdout.strip(), f"--kubeconfig={file}", "--leader-elect=false", "--secure-port=0"])
                check(f"{title}: {name}", shares, server, objects, nodes)
            finally:
                server.stop()
