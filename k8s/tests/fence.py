"""The fence: what a real API server refuses a run of `regions` that another one has overtaken, and that it refuses
nobody else anything. The policy itself is then broken in every way that matters, and each is noticed."""

import copy
import json
import tempfile
from pathlib import Path

from rendering import NAMESPACE, only
from report import check, skip
from server import APPLY, CACHE, MERGE
from waiting import until

FENCE, OWNER = "meridian.internal/fence", "meridian.internal/owner"
KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
PASSES, LOWER, MISSING, MALFORMED = "passes", "is lower than", "is missing, and stands at", "must be a decimal number"


class Judge:
    """Writes to objects of one namespace, and tells what became of each."""

    def __init__(self, server, namespace):
        self.server, self.namespace = server, namespace
        self.maps = f"/api/v1/namespaces/{namespace}/configmaps"

    def map(self, name, fence, owner="regions", data="new"):
        metadata = {"name": name, "labels": {OWNER: owner} if owner else {}}
        metadata["annotations"] = {} if fence is None else {FENCE: fence}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": data}}

    def verdict(self, answered):
        status, answer, _ = answered
        if status < 300:
            return PASSES
        for said in (LOWER, MISSING, MALFORMED):
            if status == 403 and said in answer["message"] and "ValidatingAdmissionPolicy" in answer["message"]:
                return said
        return f"{status}: {answer.get('message')}"

    def apply(self, body, manager="regions", more="", force=False):
        forced = "&force=true" if force else ""
        path = f"{self.maps}/{body['metadata']['name']}?fieldManager={manager}{forced}{more}"
        return self.server.call("PATCH", path, body, APPLY)

    def case(self, name, former, write):
        """The verdict over a write to an object that `regions` made with this fence."""
        # A run of cases leaves its objects, and another run of them may follow.
        self.server.call("DELETE", f"{self.maps}/{name}")
        status, answer, _ = self.apply(self.map(name, former, data="old"))
        if status != 201:
            return f"it cannot even be made: {answer['message']}"
        return self.verdict(write(name))

    def again(self, former, given, **how):
        """Applied again with another fence."""
        return lambda: (former, lambda name: self.apply(self.map(name, given), **how))

    def patched(self, former, given, kind=MERGE, manager="regions"):
        """Another kind of write of the whole object."""
        def write(name):
            path = f"{self.maps}/{name}?fieldManager={manager}"
            return self.server.call("PATCH", path, {"metadata": {"annotations": {FENCE: given}}}, kind)
        return lambda: (former, write)

    def replaced(self, former, given, manager="regions"):
        def write(name):
            return self.server.call("PUT", f"{self.maps}/{name}?fieldManager={manager}", self.map(name, given))
        return lambda: (former, write)

    def without_label(self, former, given):
        return lambda: (former, lambda name: self.apply(self.map(name, given, owner=None)))

    def of_others(self, former, given):
        """An object that `regions` does not own."""
        def write(name):
            self.server.call("DELETE", f"{self.maps}/{name}")
            self.apply(self.map(name, former, owner="somebody"))
            return self.apply(self.map(name, given, owner="somebody"))
        return lambda: (None, write)

    def verdicts(self):
        """What is said of each write."""
        cases = {
            "lower": self.again("7", "6"),
            "much lower, with more digits before": self.again("10", "9"),
            "equal": self.again("7", "7"),
            "higher": self.again("7", "8"),
            "higher, with more digits": self.again("9", "10"),
            "as high as a number gets": self.again("7", "9" * 18),
            "from 0": self.again("0", "1"),
            "left out": self.again("7", None),
            "no number": self.again("7", "8th"),
            "a number with zeros before it": self.again("7", "08"),
            "below zero": self.again("7", "-1"),
            "higher than any number": self.again("7", "9" * 19),
            "no number where none stood": self.again(None, "8th"),
            "none, where none stood": self.again(None, None),
            "the first": self.again(None, "3"),
            "a dry run of a lower one": self.again("7", "6", more="&dryRun=All"),
            "a dry run of a higher one": self.again("7", "8", more="&dryRun=All"),
            "the owner's label left out, and lower": self.without_label("7", "6"),
            "the owner's label left out, and equal": self.without_label("7", "7"),
            "a merge patch, lower": self.patched("7", "6"),
            "a merge patch that takes it away": self.patched("7", None),
            "a merge patch, higher": self.patched("7", "8"),
            "replaced, lower": self.replaced("7", "6"),
            "replaced, equal": self.replaced("7", "7"),
            "by a person, lower": self.patched("7", "6", manager="kubectl-annotate"),
            "by a person, taken away": self.patched("7", None, manager="kubectl-annotate"),
            "by nobody who says who it is": self.patched("7", "6", manager=""),
            "an object of others, lower": self.of_others("7", "6"),
        }
        found = {}
        for name, made in cases.items():
            former, write = made()
            found[name] = self.case(name.replace(" ", "-").replace("'", "").replace(",", ""), former, write)
        return found | self.drained() | self.garbage() | self.made()

    def garbage(self):
        """What a person wrote over the fence and is no number holds nobody up."""
        self.server.call("DELETE", f"{self.maps}/garbage")
        self.apply(self.map("garbage", "7"))
        self.patched(None, "seven", manager="kubectl-annotate")()[1]("garbage")
        return {"over what is no number": self.verdict(self.apply(self.map("garbage", "3"), force=True))}

    def made(self):
        """What a run makes in a namespace that a later run has stamped."""
        cases = {
            "made, lower": ("6", "regions"), "made, left out": (None, "regions"), "made, no number": ("8th", "regions"),
            "made, equal": ("7", "regions"), "made, higher": ("8", "regions"),
            "made by others, left out": (None, "somebody"),
        }
        found = {}
        self.stamp("7")
        try:
            for name, (given, owner) in cases.items():
                found[name] = self.verdict(self.apply(self.map(name.replace(", ", "-").replace(" ", "-"), given, owner)))
        finally:
            self.stamp(None)
        return found

    def stamp(self, fence):
        """On the namespace, or taken away. Policies see it a moment later, as the probe beside them shows."""
        path = f"/api/v1/namespaces/{self.namespace}?fieldManager=kubectl-annotate"
        status, answer, _ = self.server.call("PATCH", path, {"metadata": {"annotations": {FENCE: fence}}}, MERGE)
        assert status == 200, answer
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stamped"}}
        wanted = 422 if fence else 201
        until(f"policies see that the fence of {self.namespace} is {fence}",
              lambda: self.server.call("POST", f"{self.maps}?dryRun=All", body)[0] == wanted, 30)

    def drained(self):
        """`regions drain` owns other fields of an object, and leaves the fence."""
        def write(name):
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"state": "drained"}}
            answered = self.apply(body, manager="regions-traffic")
            fence = answered[1].get("metadata", {}).get("annotations", {}).get(FENCE)
            return answered if fence == "7" else (500, {"message": f"the fence is {fence}"}, [])
        return {"drained": self.case("traffic-of-a-test", "7", write)}


WANTED = dict.fromkeys([
    "equal", "higher", "higher, with more digits", "as high as a number gets", "from 0", "none, where none stood",
    "the first", "a dry run of a higher one", "the owner's label left out, and equal", "a merge patch, higher",
    "replaced, equal", "by a person, lower", "by a person, taken away", "by nobody who says who it is",
    "an object of others, lower", "drained", "over what is no number", "made, equal", "made, higher",
    "made by others, left out",
], PASSES) | dict.fromkeys([
    "lower", "much lower, with more digits before", "a dry run of a lower one",
    "the owner's label left out, and lower", "a merge patch, lower", "replaced, lower", "made, lower",
], LOWER) | dict.fromkeys(["left out", "a merge patch that takes it away", "made, left out"], MISSING) | dict.fromkeys([
    "no number", "a number with zeros before it", "below zero", "higher than any number", "no number where none stood",
    "made, no number",
], MALFORMED)


def install(server, policy, binding, namespace):
    """The policy for another namespace, under a name of its own, and waits until it is in force."""
    name = f"{namespace}.fence"
    policy, binding = copy.deepcopy(policy), copy.deepcopy(binding)
    policy["metadata"]["name"] = binding["metadata"]["name"] = binding["spec"]["policyName"] = name
    selector = policy["spec"]["matchConstraints"].get("namespaceSelector")
    if selector:
        selector["matchLabels"]["kubernetes.io/metadata.name"] = namespace
    for one in (policy, binding):
        server.apply(one)
    in_force(server, policy, binding, namespace)


def in_force(server, policy, binding, namespace):
    """Waits until policies judge. None says when it does; one that comes later judges every write from then on."""
    name = f"{namespace}.probe"
    probe, bound = copy.deepcopy(policy), copy.deepcopy(binding)
    probe["metadata"]["name"] = bound["metadata"]["name"] = name
    probe["spec"] = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        },
        "validations": [
            {"expression": "object.metadata.name != 'probe'", "message": "in force"},
            {"expression": f"object.metadata.name != 'stamped' || !('{FENCE}' in namespaceObject.metadata.?annotations.orValue({{}}))",
             "message": "the namespace has a fence"},
        ],
    }
    bound["spec"] = {"policyName": name, "validationActions": ["Deny"]}
    for one in (probe, bound):
        server.apply(one)
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}}
    until(f"the policies of {namespace} are in force", lambda: server.call("POST", f"{maps}?dryRun=All", body)[0] == 422, 30)


def remove(server, namespace):
    for plural in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
        for name in ("fence", "probe"):
            server.call("DELETE", f"/apis/admissionregistration.k8s.io/v1/{plural}/{namespace}.{name}")
    server.call("DELETE", f"/api/v1/namespaces/{namespace}")


def judged(server, policy, binding, namespace):
    server.namespace(namespace, {})
    try:
        install(server, policy, binding, namespace)
        return Judge(server, namespace).verdicts()
    finally:
        remove(server, namespace)


def each_write_is_judged_right(server, policy, binding):
    found = judged(server, policy, binding, "fenced")
    wrong = [f"{name}: {verdict}, wanted: {WANTED[name]}" for name, verdict in found.items() if verdict != WANTED[name]]
    assert not wrong, "\n".join(wrong)
    assert set(found) == set(WANTED)


def mutants(policy, binding):
    """(name, policy, binding): each broken in one way."""
    def changed(name, change):
        copied = copy.deepcopy(policy)
        change(copied["spec"])
        return name, copied, binding

    for index in range(len(policy["spec"]["validations"])):
        yield changed(f"validation {index} is gone", lambda spec, i=index: spec["validations"].pop(i))
    yield changed("it judges whoever writes", lambda spec: spec.pop("matchConditions"))
    yield changed("it judges another manager", lambda spec: spec["matchConditions"][0].update(
        expression=spec["matchConditions"][0]["expression"].replace("'regions'", "'regions-traffic'")))
    yield changed("it judges what others own", lambda spec: spec["matchConstraints"].pop("objectSelector"))
    yield changed("it judges what somebody else owns", lambda spec: spec["matchConstraints"]["objectSelector"].update(
        matchLabels={OWNER: "somebody"}))
    yield changed("it judges Deployments alone", lambda spec: spec["matchConstraints"]["resourceRules"][0].update(
        resources=["deployments"]))
    for operation, what in (("CREATE", "is made"), ("UPDATE", "changes")):
        yield changed(f"it judges what {what} alone", lambda spec, o=operation: spec["matchConstraints"]["resourceRules"][0].update(
            operations=[o]))
    for name, old, new in [
        ("numbers are compared as text", "int(variables.given) >= int(variables.former)", "variables.given >= variables.former"),
        ("equal is refused", "int(variables.given) >= int", "int(variables.given) > int"),
        ("what is no number fences everybody off", "variables.former.matches(", "variables.former != '' || ''.matches("),
        ("numbers may be longer", "{0,17}", "{0,30}"),
        ("numbers may begin with 0", "(0|[1-9][0-9]{0,17})", "[0-9]{1,18}"),
        ("a fence must be there from the beginning", "!variables.fenced || variables.given != ''", "variables.given != ''"),
        ("the former is read from the new object", "oldObject.metadata", "object.metadata"),
        ("a namespace's fence is not read", "namespaceObject.metadata", "object.metadata"),
        ("another annotation is read", FENCE, "meridian.internal/fences"),
    ]:
        text = json.dumps(policy)
        assert old in text, f"the policy does not say {old}"
        yield name, json.loads(text.replace(old, new)), binding
    warns = copy.deepcopy(binding)
    warns["spec"]["validationActions"] = ["Warn"]
    yield "it warns alone", policy, warns


def every_broken_fence_is_noticed(server, policy, binding):
    survivors, count = [], 0
    for count, (name, changed, bound) in enumerate(mutants(policy, binding), 1):
        if judged(server, changed, bound, f"broken-{count}") == WANTED:
            survivors.append(name)
    print(f"     {count} broken policies, {len(survivors)} not noticed")
    assert not survivors, "\n".join(survivors)


def stamped(objects, fence):
    """The release as a run of `regions` applies it."""
    copied = copy.deepcopy(objects)
    for one in copied:
        one["metadata"].setdefault("labels", {})[OWNER] = "regions"
        one["metadata"].setdefault("annotations", {})[FENCE] = fence
    return copied


def a_whole_release_is_fenced(server, objects):
    """Every object of the chart, stamped by one run, then by a later one, then by the first again."""
    for fence in ("1", "2", "2"):
        for one in stamped(objects, fence):
            server.apply(one)
    in_force(server, *(only(objects, kind) for kind in KINDS), NAMESPACE)
    for one in stamped(objects, "1"):
        path = f"{server.path(one)}?fieldManager=regions"
        status, answer, _ = server.call("PATCH", path, one, APPLY)
        # Policies do not judge policies.
        if one["kind"] in KINDS:
            assert status == 200, answer
            continue
        assert status == 403 and "fence 1 is lower than 2" in answer["message"], f"{one['kind']}: {status} {answer}"
        assert "another run of regions" in answer["message"] and "regions status" in answer["message"], answer["message"]


def those_who_write_beside_it_are_left_alone(server, objects):
    """Status and scale as controllers write them, and what clouds write on a Service."""
    deployment, service = only(objects, "Deployment", "service"), only(objects, "Service", "service")
    scaler, budget = only(objects, "HorizontalPodAutoscaler"), only(objects, "PodDisruptionBudget")
    writes = [
        (f"{server.path(deployment)}/scale", {"spec": {"replicas": 5}}, "kube-controller-manager"),
        (f"{server.path(deployment)}/status", {"status": {"observedGeneration": 1}}, "kube-controller-manager"),
        (server.path(deployment), {"metadata": {"annotations": {"deployment.kubernetes.io/revision": "2"}}}, "kube-controller-manager"),
        (f"{server.path(scaler)}/status", {"status": {"currentReplicas": 2, "desiredReplicas": 2}}, "kube-controller-manager"),
        (f"{server.path(budget)}/status", {"status": {
            "currentHealthy": 2, "desiredHealthy": 1, "disruptionsAllowed": 1, "expectedPods": 2}}, "kube-controller-manager"),
        (f"{server.path(service)}/status", {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}}, "cloud-controller-manager"),
        (server.path(service), {"metadata": {"finalizers": ["service.kubernetes.io/load-balancer-cleanup"]}}, "cloud-controller-manager"),
        (server.path(service), {"metadata": {"finalizers": None}}, "cloud-controller-manager"),
        (server.path(deployment), {"spec": {"paused": True}}, "kubectl-rollout"),
        (server.path(deployment), {"spec": {"paused": None}}, "kubectl-rollout"),
        # Even under the name of `regions`: what has no metadata of its own is no whole object.
        (f"{server.path(deployment)}/scale", {"spec": {"replicas": 2}}, "regions"),
    ]
    for path, body, manager in writes:
        status, answer, _ = server.call("PATCH", f"{path}?fieldManager={manager}", body, MERGE)
        assert status == 200, f"{manager} {path}: {status} {answer.get('message')}"
    live = server.call("GET", server.path(deployment))[1]
    assert live["metadata"]["annotations"][FENCE] == "2", live["metadata"]["annotations"]
    status, answer, _ = server.call("DELETE", server.path(budget))
    assert status == 200, answer


def controllers_work_beside_it(server, objects, manager):
    """The real controllers make pods, slices and status of fenced objects, and are never refused."""
    with tempfile.TemporaryDirectory(prefix="meridian-controllers.") as folder:
        config = Path(folder) / "kubeconfig"
        config.write_text(json.dumps(server.kubeconfig()))
        which = "deployment-controller,replicaset-controller,endpointslice-controller,disruption-controller," \
                "horizontal-pod-autoscaler-controller,serviceaccount-controller"
        server.start([manager, f"--kubeconfig={config}", f"--controllers={which}", "--leader-elect=false", "--secure-port=0"])
        for fence in ("3", "4"):
            release = stamped(objects, fence)
            only(release, "Deployment", "service")["spec"]["template"]["metadata"]["annotations"]["meridian.internal/release"] = fence
            for one in release:
                server.apply(one)
            deployment = only(release, "Deployment", "service")

            def seen():
                live = server.call("GET", server.path(deployment))[1]
                status, annotations = live["status"], live["metadata"]["annotations"]
                assert annotations[FENCE] == fence, annotations
                return (status.get("observedGeneration") == live["metadata"]["generation"] and status.get("updatedReplicas")
                        and int(annotations["deployment.kubernetes.io/revision"]) >= 1)

            until(f"the Deployment's controller follows fence {fence}", seen, 60)
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
        until("the Service has its slices", lambda: server.call("GET", slices)[1]["items"], 60)
        log = (server.folder / "kube-controller-manager.log").read_text()
        assert "denied request" not in log, [line for line in log.splitlines() if "denied request" in line][:3]


def run(server, objects):
    """Judges, breaks, and lets controllers work."""
    policy, binding = (only(objects, kind) for kind in KINDS)
    check(f"the fence judges {len(WANTED)} writes right", each_write_is_judged_right, server, policy, binding)
    check("every broken fence is noticed", every_broken_fence_is_noticed, server, policy, binding)
    check("a whole release is fenced, by one number for all", a_whole_release_is_fenced, server, objects)
    check("those who write beside it are left alone", those_who_write_beside_it_are_left_alone, server, objects)
    title = "the real controllers work beside it"
    found = sorted(CACHE.glob("kubernetes-*/kube-controller-manager"))
    if found:
        check(title, controllers_work_beside_it, server, objects, found[-1])
    else:
        skip(title, "kube-controller-manager is not built; target/debug/local-region tools")
