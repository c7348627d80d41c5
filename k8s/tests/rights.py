"""What service accounts may do, asked of a real API server, and tried."""

import copy

from rendering import NAMESPACE, only
from report import check
from server import APPLY, PLURALS, WHOLE
from waiting import until

# Every account may ask who it is and what it may do.
OWN = {"selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"}
WRITE = {"get", "create", "update", "patch"}
WATCHER = {
    ("", "pods", None): {"list", "watch"},
    ("discovery.k8s.io", "endpointslices", None): {"list", "watch"},
    ("", "configmaps", "secrets-floor"): WRITE,
    ("coordination.k8s.io", "leases", "watcher"): WRITE,
    ("events.k8s.io", "events", None): {"create", "patch"},
}


def token(server, account):
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    status, answer, _ = server.call("POST", path, body)
    assert status == 201, answer
    return answer["status"]["token"]


def granted(server, account, namespace):
    """Verbs by group, resource and name, as the API server itself lists them."""
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    status, answer, _ = server.call("POST", path, body, token=token(server, account))
    assert status == 201 and not answer["status"]["incomplete"], answer
    found = {}
    for rule in answer["status"]["resourceRules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [None]):
                    if resource not in OWN:
                        found.setdefault((group, resource, name), set()).update(rule["verbs"])
    return found


def each_account_has_its_few_rights(server, account, wanted):
    found = granted(server, account, NAMESPACE)
    assert found == wanted, f"{account} may {found}"
    for namespace in ("default", "kube-system"):
        assert not granted(server, account, namespace), f"{account} has rights in {namespace}"


def the_watcher_does_what_it_must(server):
    who = token(server, "watcher")
    place = f"namespaces/{NAMESPACE}"

    def floor(name):
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"tls": "{}"}}

    def lease(name):
        spec = {"holderIdentity": "one", "leaseTransitions": 1}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}

    event = {
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "watcher.1"}, "type": "Normal",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "meridian.internal/watcher",
        "reportingInstance": "watcher-0", "action": "Nudge", "reason": "Changed", "note": "tls 8",
        "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": NAMESPACE, "name": "service-0"},
    }
    applied, leases = "fieldManager=watcher&force=true", f"/apis/coordination.k8s.io/v1/{place}/leases"
    maps = f"/api/v1/{place}/configmaps"
    calls = [
        (200, "GET", f"/api/v1/{place}/pods", None),
        (200, "GET", f"/apis/discovery.k8s.io/v1/{place}/endpointslices", None),
        # The first makes the object, the second changes it.
        (201, "PATCH", f"{maps}/secrets-floor?{applied}", floor("secrets-floor")),
        (200, "PATCH", f"{maps}/secrets-floor?{applied}", floor("secrets-floor")),
        (200, "GET", f"{maps}/secrets-floor", None),
        (201, "PATCH", f"{leases}/watcher?{applied}", lease("watcher")),
        (200, "PATCH", f"{leases}/watcher?{applied}", lease("watcher")),
        (200, "GET", f"{leases}/watcher", None),
        (201, "POST", f"/apis/events.k8s.io/v1/{place}/events", event),
        (403, "POST", maps, floor("secrets-floor")),
        (403, "PATCH", f"{maps}/traffic?{applied}", floor("traffic")),
        (403, "PATCH", f"{maps}/another?{applied}", floor("another")),
        (403, "GET", f"{maps}/vault-ca", None),
        (403, "GET", maps, None),
        (403, "DELETE", f"{maps}/secrets-floor", None),
        (403, "PATCH", f"{leases}/region?{applied}", lease("region")),
        (403, "DELETE", f"{leases}/watcher", None),
        (403, "GET", f"/api/v1/{place}/secrets", None),
        (403, "GET", f"/api/v1/{place}/pods/service-0/log", None),
        (403, "POST", f"/api/v1/{place}/pods/service-0/exec?command=id", None),
        (403, "DELETE", f"/api/v1/{place}/pods/service-0", None),
        (403, "POST", f"/api/v1/{place}/serviceaccounts/service/token", {}),
        (403, "GET", "/api/v1/namespaces/kube-system/pods", None),
        (403, "GET", "/api/v1/pods", None),
        (403, "GET", f"/apis/rbac.authorization.k8s.io/v1/{place}/roles", None),
    ]
    for wanted, method, path, body in calls:
        status, answer, _ = server.call(method, path, body, APPLY if method == "PATCH" else "application/json", who)
        assert status == wanted, f"{method} {path}: {status}, wanted {wanted}: {answer.get('message')}"


def promoters(objects):
    """What the README says that whoever promotes may do, as (rules of the namespace, rules of the cluster)."""
    own, whole = [], []
    for one in objects:
        group = one["apiVersion"].rpartition("/")[0]
        rule = {"apiGroups": [group], "resources": [PLURALS[one["kind"]]], "verbs": ["get", "create", "patch", "delete"]}
        (whole if one["kind"] in WHOLE else own).append(rule)
    return own, whole, only(objects, "Role")["rules"]


def grant(server, own, whole):
    """Gives these rules, and no others, to the user `promoter`."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    for kind, place, rules in (("Role", f"{rbac}/namespaces/{NAMESPACE}", own), ("ClusterRole", rbac, whole)):
        metadata = {"name": "promoter"}
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "rules": rules}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "promoter"}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "promoter"}
        binding = role | {"kind": f"{kind}Binding", "roleRef": reference, "subjects": [subject]}
        del binding["rules"]
        for body in (role, binding):
            path = f"{place}/{body['kind'].lower()}s/promoter?fieldManager=test&force=true"
            status, answer, _ = server.call("PATCH", path, body, APPLY)
            assert status in (200, 201), answer


def promoted(server, objects):
    """The kinds that the user `promoter` is refused to write, one as if he were the first."""
    refused = set()
    for one in objects:
        fresh = copy.deepcopy(one)
        fresh["metadata"]["name"] += "-of-a-promoter"
        for body in (one, fresh):
            path = f"{server.path(body)}?fieldManager=regions"
            status, answer, _ = server.call("PATCH", path, body, APPLY, server.promoter)
            assert status in (200, 201, 403), answer
            refused |= {one["kind"]} if status == 403 else set()
            if body is fresh and status == 201:
                assert server.call("GET", server.path(body), token=server.promoter)[0] == 200
                assert server.call("DELETE", server.path(body), token=server.promoter)[0] == 200
    return refused


def refused_nothing(server, objects):
    refused = promoted(server, objects)
    assert not refused, f"refused: {refused}"
    return True


def a_promoter_needs_what_the_readme_says(server, objects):
    own, whole, watchers = promoters(objects)
    grant(server, own + watchers, whole)
    until("who promotes is refused nothing", lambda: refused_nothing(server, objects), 20)
    for rule in watchers:
        # Of ConfigMaps he may do that anyway.
        if rule["resources"] != ["configmaps"]:
            grant(server, own + [other for other in watchers if other is not rule], whole)
            # The API server's own view of grants follows a moment later.
            roles = {"Role", "RoleBinding"}
            until(f"without {rule} the watcher is refused", lambda: promoted(server, objects) == roles, 20)
    grant(server, own + watchers, whole)
    until("who promotes is refused nothing again", lambda: refused_nothing(server, objects), 20)
    more = copy.deepcopy(only(objects, "Role"))
    more["rules"].append({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]})
    status, answer, _ = server.call("PATCH", f"{server.path(more)}?fieldManager=regions", more, APPLY, server.promoter)
    assert status == 403 and "attempting to grant RBAC permissions not currently held" in answer["message"], answer
    grant(server, own + watchers, [])
    until("without rights in the cluster the fence is refused", lambda: promoted(server, objects) == WHOLE, 20)


def run(server, objects):
    """Asks and tries; the chart's objects are there."""
    check("who promotes needs what the README says", a_promoter_needs_what_the_readme_says, server, objects)
    check("the service's account may do nothing in Kubernetes", each_account_has_its_few_rights, server, "service", {})
    check("the watcher's account may do its few things, in its namespace alone", each_account_has_its_few_rights, server, "watcher", WATCHER)
    check("the watcher can do what it must, and is refused what it must not", the_watcher_does_what_it_must, server)
