"""The chart's objects on a real API server: what schemas cannot say, admission included."""

import copy
import json
import subprocess
import tempfile
from pathlib import Path

import definitions
import examples
import fence
import rendering
import rights
from programs import newest
from rendering import only
from report import check, skip
from server import MERGE, ApiServer, pod_of, programs


def every_object_is_taken(server, objects):
    versions = {}
    for one in objects:
        versions[one["kind"], one["metadata"]["name"]] = server.apply(one)["metadata"]["resourceVersion"]
    for one in objects:
        again = server.apply(one)["metadata"]["resourceVersion"]
        assert again == versions[one["kind"], one["metadata"]["name"]], f"{one['kind']}: applying again changed it"


def pods_are_admitted_as_restricted(server, objects):
    one = pod_of(objects)
    path = server.path(one, name=False) + "?dryRun=All&fieldValidation=Strict"
    status, answer, warnings = server.call("POST", path, one)
    assert status == 201, answer.get("message")
    assert not warnings, warnings
    for change in (
        lambda pod: pod["spec"].pop("securityContext") and pod["spec"]["containers"][0].pop("securityContext"),
        lambda pod: pod["spec"].update(hostNetwork=True),
        lambda pod: pod["spec"]["initContainers"][0]["securityContext"].pop("capabilities"),
        lambda pod: pod["spec"]["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    ):
        broken = pod_of(objects)
        change(broken)
        status, answer, _ = server.call("POST", path, broken)
        assert status == 403 and "restricted" in answer["message"], f"a pod that is not restricted was taken: {status}"


def the_autoscalers_replicas_stay(server, objects):
    deployment = only(objects, "Deployment", "service")
    server.apply(deployment)
    path = server.path(deployment) + "/scale?fieldManager=autoscaler"
    status, answer, _ = server.call("PATCH", path, {"spec": {"replicas": 7}}, MERGE)
    assert status == 200, answer
    changed = copy.deepcopy(deployment)
    changed["spec"]["template"]["metadata"]["annotations"]["meridian.internal/release"] = "sha256:another"
    assert server.apply(changed)["spec"]["replicas"] == 7, "a release took pods away"


def a_drained_region_stays_drained(server, objects):
    traffic = only(objects, "ConfigMap", "traffic")
    server.apply(traffic)
    bare = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "traffic"}, "data": {"state": "drained"}}
    server.apply(bare, manager="regions-traffic")
    assert server.apply(traffic).get("data") == {"state": "drained"}, "a release put the region back into traffic"


def promotion(server, regions, catalogue, context):
    """A dry run of `regions promote` of the packaged chart to the environment qa, whose one region is this server."""
    images = server.folder / "images.yaml"
    images.write_text(json.dumps(rendering.IMAGES))
    package = [rendering.ROOT / "local/images/package", images, "1.2.3", "1700000000", server.folder]
    subprocess.run(package, check=True, capture_output=True)
    kubeconfig = server.kubeconfig()
    kubeconfig["contexts"][0]["name"] = context
    file = server.folder / "kubeconfig"
    file.write_text(json.dumps(kubeconfig))
    arguments = ["--catalogue", catalogue, "--env", "qa", "--release", server.folder / "meridian-1.2.3.tgz",
                 "--helm", rendering.HELM, "--kubeconfig", file, "--dry-run"]
    return subprocess.run([regions, "promote", *arguments], capture_output=True, text=True, timeout=120)


def regions_promotes_it(server, regions):
    """The packaged chart, as `regions promote` would apply it to this API server."""
    done = promotion(server, regions, rendering.CATALOGUES[1], "meridian-qa-qa")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for image in (rendering.IMAGES["service"], rendering.IMAGES["secrets-agent"]):
        assert image in done.stdout, f"the plan does not name {image}"


def a_region_without_collectors_is_refused(server, regions):
    """The catalogue says that Google reads the metrics, and this API server knows nothing of that."""
    done = promotion(server, regions, rendering.CATALOGUES[0], "meridian-qa-europe-west4")
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    for word in ("PodMonitoring", "Rules", "install what serves it"):
        assert word in done.stderr, done.stderr


def run(rendered):
    """Applies every region's objects to one API server, one after the other."""
    parts = programs()
    if parts is None:
        skip("a real API server takes the chart", "etcd and kube-apiserver are not built; target/debug/local-region tools")
        return
    with tempfile.TemporaryDirectory(prefix="meridian-apiserver.") as folder:
        server = ApiServer(Path(folder), *parts)
        try:
            server.begin()
            title = "regions promote plans the packaged chart"
            if regions := newest("regions"):
                check(title, regions_promotes_it, server, regions)
                check("a region that nobody reads metrics of is refused", a_region_without_collectors_is_refused, server, regions)
            else:
                skip(title, "regions is not built; cargo build --package regions")
            check("it serves what the Prometheus operator and Google's collectors serve", definitions.install, server)
            version = server.call("GET", "/version")[1]["gitVersion"]
            given = rendered["regions/production/us-east4"][1] | {"monitoring": "operator"}
            operated = {"a region with an operator": (rendering.template_values(given), given)}
            for label, (objects, _) in (operated | rendered).items():
                check(f"Kubernetes {version} takes {label}, and applying again changes nothing", every_object_is_taken, server, objects)
            objects, _ = rendered["regions/production/us-east4"]
            check("its pods are admitted where only restricted pods are", pods_are_admitted_as_restricted, server, objects)
            check("a release leaves the autoscaler's replicas", the_autoscalers_replicas_stay, server, objects)
            check("a release leaves a drained region drained", a_drained_region_stays_drained, server, objects)
            rights.run(server, objects)
            fence.run(server, objects)
            examples.on_a_server(server)
        finally:
            server.stop()
