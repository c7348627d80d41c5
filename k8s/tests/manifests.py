"""What must be true of the objects of every region. Each check takes the objects and the values."""

import ipaddress
import json
import re
from urllib.parse import urlsplit

import alerts
import flows
import watcher
from rendering import FACTS, IMAGES, NAMESPACE, only

SPOT_TAINT = {"key": "cloud.google.com/gke-spot", "value": "true", "effect": "NoSchedule"}
SPOT_SECONDS = 15
UID = 65532
SELECTOR = {"app.kubernetes.io/name": "service"}
WATCHER = {"app.kubernetes.io/name": "watcher"}
FENCE = f"fence.{NAMESPACE}.meridian.internal"
# Kinds that are no namespace's.
WHOLE = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
# ConfigMaps that others make, and whether a pod starts without them.
FOREIGN = {"vault-ca": False, "secrets-floor": True}


def deployment(objects):
    return only(objects, "Deployment", "service")["spec"]


def pod(objects):
    return deployment(objects)["template"]["spec"]


def service(objects):
    (container,) = pod(objects)["containers"]
    assert container["name"] == "service"
    return container


def agent(objects):
    (container,) = pod(objects)["initContainers"]
    assert container["name"] == "secrets-agent"
    return container


def environment(container):
    """Variables by name: the text, or the path of the field that fills it."""
    found = {}
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        assert set(source) <= {"fieldRef"}, f"{variable['name']} comes from {sorted(source)}"
        found[variable["name"]] = source["fieldRef"]["fieldPath"] if source else variable["value"]
    assert len(found) == len(container["env"]), "a variable stands twice"
    return found


def mounts(container):
    return {mount["name"]: mount for mount in container["volumeMounts"]}


def volumes(objects):
    return {volume["name"]: volume for volume in pod(objects)["volumes"]}


def port_of(container, name):
    (port,) = [p for p in container["ports"] if p["name"] == name]
    assert port["protocol"] == "TCP"
    return port["containerPort"]


def pools(values):
    return values["pools"] if "pools" in values else values["defaults"]["pools"]


def vault_address(values):
    given = values.get("vault", values.get("defaults", {}).get("vault", {}))
    return given.get("address", f"https://vault.{values['region']}.{values['domain']}:8200")


def monitoring(values):
    return values.get("monitoring", values.get("defaults", {}).get("monitoring", "none"))


def kinds(objects, values):
    found = sorted(f"{o['kind']} {o['metadata']['name']}" for o in objects)
    collected = {
        "google": ["PodMonitoring service", "Rules service"],
        "operator": ["PodMonitor service", "PrometheusRule service"],
        "none": [],
    }
    assert found == sorted([
        "ConfigMap traffic",
        "Deployment service",
        "Deployment watcher",
        "HorizontalPodAutoscaler service",
        "NetworkPolicy default-deny",
        "NetworkPolicy service",
        "NetworkPolicy watcher",
        "PodDisruptionBudget service",
        "Role watcher",
        "RoleBinding watcher",
        "Service service",
        "Service watcher",
        "ServiceAccount service",
        "ServiceAccount watcher",
        f"ValidatingAdmissionPolicy {FENCE}",
        f"ValidatingAdmissionPolicyBinding {FENCE}",
        *collected[monitoring(values)],
    ]), found


def names_and_labels(objects, values):
    template = deployment(objects)["template"]["metadata"]
    for metadata, kind in [*((o["metadata"], o["kind"]) for o in objects), (template, "Pod")]:
        labels = metadata["labels"]
        name = "fence" if kind in WHOLE else metadata.get("name")
        assert labels["app.kubernetes.io/name"] == (name if name in ("fence", "watcher") else "service"), labels
        assert labels["app.kubernetes.io/part-of"] == "meridian"
        assert labels["app.kubernetes.io/managed-by"] == "regions"
        assert labels["app.kubernetes.io/version"] == FACTS["appVersion"]
        assert labels["meridian.internal/environment"] == values["environment"]
        assert labels["meridian.internal/region"] == values["region"]
        assert len(labels) == 6, labels
    for one in objects:
        assert one["metadata"].get("namespace") == (None if one["kind"] in WHOLE else NAMESPACE), one["metadata"]
    assert template["labels"].items() >= SELECTOR.items()
    assert template["annotations"]["kubectl.kubernetes.io/default-container"] == "service"


def api_versions(objects, values):
    wanted = {
        "ConfigMap": "v1", "Service": "v1", "ServiceAccount": "v1", "Deployment": "apps/v1",
        "HorizontalPodAutoscaler": "autoscaling/v2", "NetworkPolicy": "networking.k8s.io/v1",
        "PodDisruptionBudget": "policy/v1", "Role": "rbac.authorization.k8s.io/v1",
        "RoleBinding": "rbac.authorization.k8s.io/v1",
        "ValidatingAdmissionPolicy": "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1",
        "PodMonitoring": "monitoring.googleapis.com/v1", "Rules": "monitoring.googleapis.com/v1",
        "PodMonitor": "monitoring.coreos.com/v1", "PrometheusRule": "monitoring.coreos.com/v1",
    }
    for one in objects:
        assert one["apiVersion"] == wanted[one["kind"]], one["kind"]


def images_are_pinned(objects, values):
    for container in (service(objects), agent(objects)):
        assert container["image"] == IMAGES[container["name"]], container["image"]
        assert container["imagePullPolicy"] == "IfNotPresent"


def rollout_takes_no_pod_away(objects, values):
    spec = deployment(objects)
    assert "replicas" not in spec, "the autoscaler owns replicas"
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert spec["minReadySeconds"] == 5
    assert spec["progressDeadlineSeconds"] == 600
    assert spec["revisionHistoryLimit"] == 3


def selectors_take_the_pods(objects, values):
    assert deployment(objects)["selector"] == {"matchLabels": SELECTOR}
    assert only(objects, "PodDisruptionBudget")["spec"]["selector"] == {"matchLabels": SELECTOR}
    assert only(objects, "Service", "service")["spec"]["selector"] == SELECTOR
    assert only(objects, "NetworkPolicy", "service")["spec"]["podSelector"] == {"matchLabels": SELECTOR}
    assert only(objects, "NetworkPolicy", "watcher")["spec"]["podSelector"] == {"matchLabels": WATCHER}
    for constraint in pod(objects)["topologySpreadConstraints"]:
        assert constraint["labelSelector"] == {"matchLabels": SELECTOR}


def probes(objects, values):
    main, sidecar = service(objects), agent(objects)
    assert port_of(main, "admin") == 9090 and port_of(main, "public") == 8443
    assert port_of(sidecar, "agent") == 9091
    assert main["startupProbe"]["httpGet"] == {"path": "/livez", "port": "admin"}
    assert main["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "admin"}
    assert main["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}
    assert sidecar["startupProbe"]["httpGet"] == {"path": "/readyz", "port": "agent"}
    assert sidecar["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "agent"}
    assert "readinessProbe" not in sidecar, "a pod that has its secrets must stay ready without its agent"
    for container in (main, sidecar):
        start, live = container["startupProbe"], container["livenessProbe"]
        assert start["periodSeconds"] == 1 and start["timeoutSeconds"] == 1
        assert start["failureThreshold"] == 30
        assert live["periodSeconds"] * live["failureThreshold"] == 30, "half a minute before a restart"
        assert live["timeoutSeconds"] == 3
    ready = main["readinessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] == 4 and ready["timeoutSeconds"] == 1


def agent_is_a_native_sidecar(objects, values):
    assert agent(objects)["restartPolicy"] == "Always"


def shutdown_fits_a_spot_node(objects, values):
    spec = pod(objects)
    for container in (service(objects), agent(objects)):
        assert "lifecycle" not in container, "no preStop: the service waits by itself"
    variables = environment(service(objects))
    seconds = {k: int(variables[f"SERVICE__SHUTDOWN__{k}"].removesuffix("s")) for k in ("ACCEPT_FOR", "DRAIN_FOR")}
    assert seconds == {"ACCEPT_FOR": 8, "DRAIN_FOR": 4}, seconds
    left = spec["terminationGracePeriodSeconds"] - sum(seconds.values())
    assert left == 2, f"the agent has {left} s"
    assert spec["terminationGracePeriodSeconds"] <= SPOT_SECONDS - 1


def pod_security_is_restricted(objects, values):
    spec = pod(objects)
    for key in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        assert not spec.get(key), key
    assert spec["enableServiceLinks"] is False
    context = spec["securityContext"]
    assert context == {
        "runAsNonRoot": True, "runAsUser": UID, "runAsGroup": UID, "fsGroup": UID,
        "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
    }, context
    for container in (service(objects), agent(objects)):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "privileged": False, "readOnlyRootFilesystem": True,
            "runAsNonRoot": True, "runAsUser": UID, "runAsGroup": UID, "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }, container["securityContext"]
        assert not any("hostPort" in port for port in container["ports"])
    for volume in volumes(objects).values():
        (kind,) = set(volume) - {"name"}
        assert kind in {"configMap", "downwardAPI", "emptyDir", "projected"}, kind


def only_vaults_token_is_given(objects, values):
    spec = pod(objects)
    assert spec["serviceAccountName"] == "service" and spec["automountServiceAccountToken"] is False
    for name in ("service", "watcher"):
        account = only(objects, "ServiceAccount", name)
        assert account["automountServiceAccountToken"] is False and len(account) == 4, account
    (source,) = volumes(objects)["vault-token"]["projected"]["sources"]
    token = source["serviceAccountToken"]
    assert token["audience"] == "vault" and token["expirationSeconds"] == 3600
    mount = mounts(agent(objects))["vault-token"]
    variables = environment(agent(objects))
    assert variables["AGENT__AUTH__KUBERNETES__JWT_FILE"] == f"{mount['mountPath']}/{token['path']}"
    assert variables["AGENT__AUTH__KUBERNETES__ROLE"] == "service"
    assert "vault-token" not in mounts(service(objects)), "the service has no business with Vault"


def the_socket_is_shared_in_memory(objects, values):
    volume = volumes(objects)["socket"]["emptyDir"]
    assert volume == {"medium": "Memory", "sizeLimit": "1Mi"}, volume
    path = environment(service(objects))["SERVICE__AGENT__SOCKET"]
    assert path == environment(agent(objects))["AGENT__SOCKET__PATH"] == "/run/meridian/agent.sock"
    ours, theirs = mounts(service(objects))["socket"], mounts(agent(objects))["socket"]
    assert ours["mountPath"] == theirs["mountPath"] == "/run/meridian"
    assert ours["readOnly"] is True and not theirs.get("readOnly")


def no_secret_is_in_an_object(objects, values):
    assert not any(o["kind"] == "Secret" for o in objects)
    for container in (service(objects), agent(objects)):
        environment(container)
        assert "envFrom" not in container and "command" not in container
    assert "args" not in service(objects)
    assert not any("secret" in volume for volume in volumes(objects).values())


def mounts_are_as_volumes(objects, values):
    have = volumes(objects)
    used = set()
    for container in (service(objects), agent(objects)):
        for name, mount in mounts(container).items():
            assert name in have, f"{container['name']} mounts {name}, which no volume is"
            assert "subPath" not in mount, "a file that is mounted alone is never updated"
            assert mount.get("readOnly") or name == "socket", name
            used.add(name)
    assert used == set(have), f"not mounted: {set(have) - used}"
    rendered = {o["metadata"]["name"] for o in objects if o["kind"] == "ConfigMap"}
    for volume in have.values():
        if "configMap" in volume:
            name, optional = volume["configMap"]["name"], volume["configMap"].get("optional", False)
            assert name in rendered or FOREIGN.get(name) == optional, name


def configuration_files_are_where_they_are_looked_for(objects, values):
    variables, mounted = environment(agent(objects)), mounts(agent(objects))
    (item,) = volumes(objects)["vault-ca"]["configMap"]["items"]
    assert item["key"] == "ca.crt"
    assert variables["AGENT__VAULT__CA_FILE"] == f"{mounted['vault-ca']['mountPath']}/{item['path']}"
    assert variables["AGENT__FLOOR__DIR"] == mounted["secrets-floor"]["mountPath"]
    assert volumes(objects)["secrets-floor"]["configMap"]["name"] == "secrets-floor"
    (item,) = volumes(objects)["agent-configuration"]["downwardAPI"]["items"]
    folder = mounted["agent-configuration"]["mountPath"]
    assert agent(objects)["args"] == ["--config", f"{folder}/{item['path']}"]
    annotations = deployment(objects)["template"]["metadata"]["annotations"]
    (name,) = re.fullmatch(r"metadata\.annotations\['(.*)'\]", item["fieldRef"]["fieldPath"]).groups()
    assert re.fullmatch(r"(#.*\n)+", annotations[name]), "the file is comments, its settings are variables"
    traffic = mounts(service(objects))["traffic"]["mountPath"]
    assert environment(service(objects))["SERVICE__TRAFFIC__DIR"] == traffic
    assert volumes(objects)["traffic"]["configMap"]["name"] == "traffic"


def identity_is_told(objects, values):
    main, sidecar = environment(service(objects)), environment(agent(objects))
    assert main["SERVICE__IDENTITY__ENVIRONMENT"] == values["environment"]
    assert main["SERVICE__IDENTITY__REGION"] == values["region"]
    assert main["SERVICE__IDENTITY__ZONE"] == "metadata.labels['topology.kubernetes.io/zone']"
    assert main["SERVICE__IDENTITY__POD"] == sidecar["AGENT__POD__NAME"] == "metadata.name"
    assert sidecar["AGENT__POD__UID"] == "metadata.uid"
    release = main["SERVICE__IDENTITY__RELEASE"]
    assert release == "metadata.annotations['meridian.internal/release']"
    annotations = deployment(objects)["template"]["metadata"]["annotations"]
    assert annotations["meridian.internal/release"] == f"meridian-{FACTS['version']}"
    assert main["SERVICE__LOG__FORMAT"] == sidecar["AGENT__LOG__FORMAT"] == "json"


def the_catalogue_is_told(objects, values):
    main, sidecar = environment(service(objects)), environment(agent(objects))
    assert main["SERVICE__OAUTH__ISSUER"] == f"https://{values['domain']}"
    for key, ceiling in values["ceilings"].items():
        assert main[f"SERVICE__CEILINGS__{key.upper()}"] == ceiling, key
    assert sidecar["AGENT__VAULT__ADDRESS"] == vault_address(values)
    named = ", ".join(f'"{name}"' for name in sorted(values["secrets"]))
    assert sidecar["AGENT__KV__SECRETS"] == f"[{named}]".replace(", ", ","), sidecar["AGENT__KV__SECRETS"]


def the_keys_that_it_needs_are_told(objects, values):
    """What `regions promote` looks for in a Vault: the documents without which the service is not ready."""
    annotations = only(objects, "Deployment", "service")["metadata"]["annotations"]
    assert set(annotations) == {"meridian.internal/secret-keys"}, sorted(annotations)
    needs = json.loads(annotations["meridian.internal/secret-keys"])
    assert needs == {
        "clients": ["clients"], "signing-keys": ["keys"], "tls": ["certificate_pem", "private_key_pem"],
    }
    assert set(needs) <= set(values["secrets"])


def resources_are_bounded(objects, values):
    sizes = {"service": ("100m", "64Mi", "1", "384Mi"), "secrets-agent": ("20m", "16Mi", "250m", "64Mi")}
    for container in (service(objects), agent(objects)):
        found = container["resources"]
        cpu, memory, most_cpu, most_memory = sizes[container["name"]]
        assert found["requests"] == {"cpu": cpu, "memory": memory}, found
        assert found["limits"] == {"cpu": most_cpu, "memory": most_memory}, found


def service_is_a_load_balancer(objects, values):
    found = only(objects, "Service", "service")
    spec = found["spec"]
    assert spec["type"] == "LoadBalancer" and spec["externalTrafficPolicy"] == "Cluster"
    assert spec["ports"] == [{"name": "public", "port": 443, "targetPort": "public", "protocol": "TCP"}]
    assert found["metadata"]["annotations"] == {
        "cloud.google.com/l4-rbs": "enabled",
        "networking.gke.io/load-balancer-ip-addresses": f"meridian-{values['environment']}-{values['region']}",
    }


def autoscaler_follows_the_catalogue(objects, values):
    spec = only(objects, "HorizontalPodAutoscaler")["spec"]
    wanted = values["workload"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (wanted["min"], wanted["max"])
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "service"}
    target = {"type": "Utilization", "averageUtilization": wanted["cpu"]}
    metric = {"container": "service", "name": "cpu", "target": target}
    assert spec["metrics"] == [{"type": "ContainerResource", "containerResource": metric}]
    up, down = spec["behavior"]["scaleUp"], spec["behavior"]["scaleDown"]
    assert up["stabilizationWindowSeconds"] == 0 and down["stabilizationWindowSeconds"] == 300
    assert up["selectPolicy"] == down["selectPolicy"] == "Max"
    assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]
    assert up["policies"] == [
        {"type": "Percent", "value": 100, "periodSeconds": 15},
        {"type": "Pods", "value": 2, "periodSeconds": 15},
    ]


def budget_lets_nodes_drain(objects, values):
    spec = only(objects, "PodDisruptionBudget")["spec"]
    assert spec["maxUnavailable"] == 1 and "minAvailable" not in spec
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def tolerates(toleration, taint):
    """As Kubernetes matches them."""
    if toleration.get("effect") not in (None, taint["effect"]) or toleration.get("key") not in (None, taint["key"]):
        return False
    return toleration.get("operator", "Equal") == "Exists" or toleration.get("value") == taint["value"]


def every_taint_is_tolerated(objects, values):
    tolerations = pod(objects)["tolerations"]
    spot = any(pool.get("spot") for pool in pools(values).values())
    assert any(tolerates(t, SPOT_TAINT) for t in tolerations) == spot, f"spot pools: {spot}, {tolerations}"
    # Nothing wider than the taint: a value or an effect of another meaning is not ours to bear.
    exact = [t for t in tolerations if t == SPOT_TAINT | {"operator": "Equal"}]
    assert len(exact) == spot, tolerations
    away = {t["key"]: t for t in tolerations if t["key"].startswith("node.kubernetes.io/")}
    assert set(away) == {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
    for toleration in away.values():
        assert toleration["tolerationSeconds"] == 30 and toleration["operator"] == "Exists"
        assert toleration["effect"] == "NoExecute"
    assert len(tolerations) == len(away) + spot


def replicas_stand_off_spot_first(objects, values):
    spot = any(pool.get("spot") for pool in pools(values).values())
    affinity = pod(objects).get("affinity")
    if not spot:
        assert affinity is None
        return
    (term,) = affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    (rule,) = term["preference"]["matchExpressions"]
    assert rule == {"key": SPOT_TAINT["key"], "operator": "NotIn", "values": [SPOT_TAINT["value"]]}
    assert term["weight"] == 100
    assert set(affinity) == {"nodeAffinity"} and len(affinity["nodeAffinity"]) == 1, "only preferences"


def pods_spread_over_pools_zones_and_hosts(objects, values):
    spot = any(pool.get("spot") for pool in pools(values).values())
    wanted = [("topology.kubernetes.io/zone", 1, "ScheduleAnyway"), ("kubernetes.io/hostname", 1, "ScheduleAnyway")]
    if spot:
        wanted.insert(0, ("meridian.internal/pool", 2, "DoNotSchedule"))
    found = pod(objects)["topologySpreadConstraints"]
    assert [(c["topologyKey"], c["maxSkew"], c["whenUnsatisfiable"]) for c in found] == wanted
    for constraint in found:
        assert constraint["nodeTaintsPolicy"] == "Honor"
        assert constraint["matchLabelKeys"] == ["pod-template-hash"], "old pods must not push new ones together"


def traffic_is_rendered_without_data(objects, values):
    found = only(objects, "ConfigMap", "traffic")
    assert set(found) == {"apiVersion", "kind", "metadata"}, "drain and restore own the data"


def rights_are_the_watchers_few(objects, values):
    kinds = [o["kind"] for o in objects if o["kind"].endswith(("Role", "RoleBinding"))]
    assert sorted(kinds) == ["Role", "RoleBinding"], "no right reaches beyond the namespace"
    rules = {tuple(rule["resources"]): rule for rule in only(objects, "Role", "watcher")["rules"]}
    write = ["get", "create", "update", "patch"]
    assert rules == {
        ("pods",): {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        ("endpointslices",): {
            "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ("configmaps",): {
            "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["secrets-floor"], "verbs": write},
        ("leases",): {
            "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["watcher"], "verbs": write},
        ("events",): {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
    }, rules
    binding = only(objects, "RoleBinding", "watcher")
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "watcher"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "watcher", "namespace": NAMESPACE}]


def the_fence_stands_around_what_regions_owns(objects, values):
    spec = only(objects, "ValidatingAdmissionPolicy", FENCE)["spec"]
    assert spec["failurePolicy"] == "Fail"
    every = {key: ["*"] for key in ("apiGroups", "apiVersions", "resources")}
    assert spec["matchConstraints"] == {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
        "objectSelector": {"matchLabels": {"meridian.internal/owner": "regions"}},
        "resourceRules": [every | {"operations": ["CREATE", "UPDATE"], "scope": "*"}],
    }, spec["matchConstraints"]
    assert [one["name"] for one in spec["matchConditions"]] == ["written-by-regions"]
    assert [one["name"] for one in spec["variables"]] == ["former", "given", "fenced"]
    assert all(one["expression"] for one in spec["matchConditions"] + spec["variables"])
    assert len(spec["validations"]) == 3
    for one in spec["validations"]:
        assert one["reason"] == "Forbidden" and one["expression"] and one["messageExpression"]
    binding = only(objects, "ValidatingAdmissionPolicyBinding", FENCE)["spec"]
    assert binding == {"policyName": FENCE, "validationActions": ["Deny"]}, binding


def metrics_are_collected(objects, values):
    ports = [{"port": name, "path": "/metrics", "interval": "30s"} for name in ("admin", "agent")]
    for kind, key, more in (("PodMonitoring", "endpoints", {"targetLabels": {"metadata": ["pod", "container"]}}),
                            ("PodMonitor", "podMetricsEndpoints", {})):
        for one in [o for o in objects if o["kind"] == kind]:
            assert one["spec"] == {"selector": {"matchLabels": SELECTOR}, key: ports} | more, one["spec"]


def alerts_are_those_of_the_file(objects, values):
    for one in [o for o in objects if o["kind"] in ("Rules", "PrometheusRule")]:
        assert set(one) == {"apiVersion", "kind", "metadata", "spec"} and set(one["spec"]) == {"groups"}
        alerts.are_those_of_the_file(one["spec"]["groups"], values)


def flows_are_the_few_that_are_needed(objects, values):
    policies = [o for o in objects if o["kind"] == "NetworkPolicy"]
    whole = only(policies, "NetworkPolicy", "default-deny")["spec"]
    assert whole == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    address = urlsplit(vault_address(values))
    named = address.hostname != f"vault.{values['region']}.{values['domain']}"
    anywhere = named and not re.fullmatch(r"[0-9.]+", address.hostname)
    wrong = flows.wrong(policies, {"google": "gmp-system", "operator": "monitoring"}.get(monitoring(values)), anywhere)
    assert not wrong, "\n".join(wrong)

    def reaches(ip, port, who=flows.SERVICE):
        return flows.side_allows(policies, "Egress", who, {"ip": ip}, port, "TCP")

    # A load balancer inside the region has an address of its nodes' network; pods have others.
    range_ = ipaddress.ip_network(values["range"])
    inside, elsewhere = (str(range_[n]) for n in (77, range_.num_addresses // 4))
    inside = str(range_[78]) if inside == address.hostname else inside
    for who in (flows.SERVICE, flows.WATCHER):
        if not named:
            assert reaches(inside, 8200, who), "Vault by an address of the region"
            assert not reaches(elsewhere, 8200, who)
        elif anywhere:
            assert reaches("203.0.113.9", address.port or 443, who), "Vault behind a name of the catalogue's"
        else:
            assert reaches(address.hostname, address.port or 443, who), "Vault by its own address"
            assert not reaches(inside, 8200, who)
        assert not reaches(inside, 22, who)
    for port in (443, 6443):
        assert reaches(inside, port, flows.WATCHER), "the API server"
        if not anywhere:
            assert not reaches(inside, port), "the service asks no API server"
            assert not reaches(elsewhere, port, flows.WATCHER) and not reaches("203.0.113.9", port, flows.WATCHER)


CHECKS = [
    kinds, names_and_labels, api_versions, images_are_pinned, rollout_takes_no_pod_away,
    selectors_take_the_pods, probes, agent_is_a_native_sidecar, shutdown_fits_a_spot_node,
    pod_security_is_restricted, only_vaults_token_is_given, the_socket_is_shared_in_memory,
    no_secret_is_in_an_object, mounts_are_as_volumes, configuration_files_are_where_they_are_looked_for,
    identity_is_told, the_catalogue_is_told, the_keys_that_it_needs_are_told, resources_are_bounded, service_is_a_load_balancer,
    autoscaler_follows_the_catalogue, budget_lets_nodes_drain, every_taint_is_tolerated,
    replicas_stand_off_spot_first, pods_spread_over_pools_zones_and_hosts, traffic_is_rendered_without_data,
    rights_are_the_watchers_few, the_fence_stands_around_what_regions_owns, metrics_are_collected,
    alerts_are_those_of_the_file, flows_are_the_few_that_are_needed, *watcher.CHECKS,
]
