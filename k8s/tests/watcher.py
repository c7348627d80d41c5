"""What must be true of the watcher that stands in every region."""

from rendering import FACTS, IMAGES, only

UID = 65532
SELECTOR = {"app.kubernetes.io/name": "watcher"}
SPOT = {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}


def spec(objects):
    return only(objects, "Deployment", "watcher")["spec"]


def pod(objects):
    return spec(objects)["template"]["spec"]


def container(objects):
    (found,) = pod(objects)["containers"]
    return found


def two_of_it_take_turns(objects, values):
    found = spec(objects)
    assert {key: found[key] for key in found if key not in ("selector", "template")} == {
        "replicas": 2, "revisionHistoryLimit": 3, "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    }, found
    assert found["selector"] == {"matchLabels": SELECTOR}
    assert set(found["template"]) == {"metadata", "spec"} and set(found["template"]["metadata"]) == {"labels"}
    labels = found["template"]["metadata"]["labels"]
    assert labels == only(objects, "Deployment", "watcher")["metadata"]["labels"], labels
    assert labels == SELECTOR | {
        "app.kubernetes.io/part-of": "meridian", "app.kubernetes.io/version": FACTS["appVersion"],
        "app.kubernetes.io/managed-by": "regions", "meridian.internal/environment": values["environment"],
        "meridian.internal/region": values["region"],
    }, labels


def its_pod_is_restricted(objects, values):
    found = {key: value for key, value in pod(objects).items() if key not in ("containers", "volumes", "tolerations")}
    spread = {
        "topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway",
        "nodeTaintsPolicy": "Honor", "matchLabelKeys": ["pod-template-hash"],
        "labelSelector": {"matchLabels": SELECTOR},
    }
    assert found == {
        # It alone has rights in Kubernetes, so it alone is given a token for it.
        "serviceAccountName": "watcher", "automountServiceAccountToken": True, "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": UID, "runAsGroup": UID, "fsGroup": UID,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [spread],
    }, found
    assert container(objects)["securityContext"] == {
        "allowPrivilegeEscalation": False, "privileged": False, "readOnlyRootFilesystem": True,
        "runAsNonRoot": True, "runAsUser": UID, "runAsGroup": UID, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def it_goes_where_pods_go(objects, values):
    pools = values["pools"] if "pools" in values else values["defaults"]["pools"]
    spot = any(pool.get("spot") for pool in pools.values())
    away = [
        {"key": f"node.kubernetes.io/{why}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
        for why in ("not-ready", "unreachable")
    ]
    assert pod(objects)["tolerations"] == [*([SPOT] if spot else []), *away], pod(objects)["tolerations"]


def it_is_told_what_to_watch(objects, values):
    given = values.get("vault", values.get("defaults", {}).get("vault", {}))
    address = given.get("address", f"https://vault.{values['region']}.{values['domain']}:8200")
    found = {key: value for key, value in container(objects).items() if not key.endswith(("Probe", "Context"))}
    variables = {
        "WATCH_ENVIRONMENT": values["environment"], "WATCH_REGION": values["region"],
        "WATCH_SECRETS": ",".join(sorted(values["secrets"])), "WATCH_VAULT_ADDRESS": address,
        "WATCH_VAULT_CA_FILE": "/etc/meridian/vault-ca/ca.crt",
        "WATCH_VAULT_JWT_FILE": "/var/run/secrets/meridian/vault/token", "WATCH_VAULT_ROLE": "watcher",
        "WATCH_LISTEN": "0.0.0.0:9092",
    }
    name = {"name": "WATCH_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    assert found == {
        "name": "watcher", "image": IMAGES["regions"], "imagePullPolicy": "IfNotPresent", "args": ["watch"],
        "env": [name, *({"name": key, "value": value} for key, value in variables.items())],
        "ports": [{"name": "watcher", "containerPort": 9092, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}},
        "volumeMounts": [
            {"name": "vault-token", "mountPath": "/var/run/secrets/meridian/vault", "readOnly": True},
            {"name": "vault-ca", "mountPath": "/etc/meridian/vault-ca", "readOnly": True},
        ],
    }, found
    token = {"path": "token", "audience": "vault", "expirationSeconds": 3600}
    assert pod(objects)["volumes"] == [
        {"name": "vault-token", "projected": {"sources": [{"serviceAccountToken": token}]}},
        {"name": "vault-ca", "configMap": {"name": "vault-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]


def its_probes(objects, values):
    def probe(path, period, timeout, failures):
        return {"httpGet": {"path": path, "port": "watcher"}, "periodSeconds": period, "timeoutSeconds": timeout,
                "failureThreshold": failures}

    found = {key: value for key, value in container(objects).items() if key.endswith("Probe")}
    assert found == {
        "startupProbe": probe("/livez", 1, 1, 30), "livenessProbe": probe("/livez", 10, 3, 3),
        "readinessProbe": probe("/readyz", 5, 2, 3),
    }, found


def it_is_asked_by_a_service_of_the_cluster(objects, values):
    port = {"name": "watcher", "port": 9092, "targetPort": "watcher", "protocol": "TCP"}
    found = only(objects, "Service", "watcher")["spec"]
    assert found == {"type": "ClusterIP", "selector": SELECTOR, "ports": [port]}, found


CHECKS = [
    two_of_it_take_turns, its_pod_is_restricted, it_goes_where_pods_go, it_is_told_what_to_watch, its_probes,
    it_is_asked_by_a_service_of_the_cluster,
]
