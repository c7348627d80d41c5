"""What the pipeline's jobs may do in a cluster, asked of a real API server."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import agreement
import definitions
import rendering
import report
from server import ApiServer, programs

ENVIRONMENT = "qa"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
WATCHER = "http:watcher:9092"

# (verb, group, resource with its subresource, name, namespace) that `regions` asks of a cluster, and by which job.
PROMOTER = [
    *[(verb, group, resource, "", "meridian")
      for verb in ("get", "list", "create", "patch", "delete")
      for group, resource in [
          ("apps", "deployments"), ("", "configmaps"), ("", "services"), ("", "serviceaccounts"),
          ("autoscaling", "horizontalpodautoscalers"), ("networking.k8s.io", "networkpolicies"),
          ("policy", "poddisruptionbudgets"), ("rbac.authorization.k8s.io", "roles"),
          ("rbac.authorization.k8s.io", "rolebindings"), ("monitoring.googleapis.com", "podmonitorings"),
          ("monitoring.googleapis.com", "rules"), ("monitoring.coreos.com", "podmonitors"),
          ("monitoring.coreos.com", "prometheusrules")]],
    *[(verb, "admissionregistration.k8s.io", resource, "fence.meridian.meridian.internal", "")
      for verb in ("get", "create", "patch", "delete")
      for resource in ("validatingadmissionpolicies", "validatingadmissionpolicybindings")],
    ("list", "", "pods", "", "meridian"), ("patch", "", "pods", "", "meridian"), ("list", "", "nodes", "", ""), ("list", "", "pods", "", ""),
    ("list", "apps", "replicasets", "", "meridian"),
    ("update", "", "configmaps", "release-1", "meridian"),
]
BOTH = [
    ("get", "", "namespaces", "meridian", ""),
    *[(verb, "coordination.k8s.io", "leases", "", "meridian") for verb in ("get", "create", "update", "patch")],
    ("get", "", "services/proxy", WATCHER, "meridian"),
    ("get", "", "services", "vault-active", "vault"), ("list", "discovery.k8s.io", "endpointslices", "", "vault"),
    ("create", "", "pods/portforward", "vault-0", "vault"), ("get", "", "pods", "vault-0", "vault"),
]
RECORDS = [("list", "", "configmaps", "", "meridian")]
NOBODY = [
    *[(verb, "", "secrets", "", namespace) for verb in ("get", "list", "create") for namespace in ("meridian", "vault", "kube-system", "")],
    ("create", "", "pods/exec", "vault-0", "vault"), ("create", "", "pods/exec", "", "meridian"), ("create", "", "pods/attach", "", "meridian"),
    ("create", "", "pods", "", "meridian"), ("create", "", "pods/portforward", "", "meridian"), ("create", "", "pods/portforward", "", "kube-system"),
    ("create", "", "serviceaccounts/token", "service", "meridian"),
    ("get", "", "services/proxy", "service", "meridian"), ("create", "", "services/proxy", WATCHER, "meridian"),
    ("get", "", "services/proxy", WATCHER, "vault"), ("get", "", "services/proxy", "https:vault:8200", "vault"),
    ("patch", "apps", "deployments", "", "vault"), ("patch", "apps", "deployments", "", "kube-system"), ("delete", "apps", "statefulsets", "vault", "vault"),
    ("delete", "", "namespaces", "meridian", ""), ("list", "", "namespaces", "", ""), ("get", "", "nodes", "", ""),
    ("bind", "rbac.authorization.k8s.io", "roles", "meridian-promoter", "meridian"), ("escalate", "rbac.authorization.k8s.io", "roles", "", "meridian"),
    ("patch", "rbac.authorization.k8s.io", "roles", "", "kube-system"), ("create", "rbac.authorization.k8s.io", "clusterrolebindings", "", ""),
    ("create", "admissionregistration.k8s.io", "validatingadmissionpolicies", "", ""),
    ("delete", "admissionregistration.k8s.io", "validatingadmissionpolicies", "another", ""),
    ("impersonate", "", "users", "admin", ""), ("delete", "", "persistentvolumeclaims", "", "vault"),
]


def checks(check, skip, space, regions):
    parts = programs()
    title = "access: a real API server takes the jobs' rights, and lets them do no more"
    if parts is None:
        skip(title, "etcd and kube-apiserver are not built; make test-rust builds them")
        return
    with tempfile.TemporaryDirectory(prefix="meridian-access.") as folder:
        server = ApiServer(Path(folder), *parts)
        try:
            server.begin()
            definitions.install(server)
            accounts = {}
            # The others stand on it, whichever are wanted.
            report.check("access: a real API server takes the rights", taken, server, space, accounts)
            for job, asked in {"promoter": BOTH + PROMOTER, "rotator": BOTH}.items():
                check(f"access: what the {job} asks is allowed", what_a_job_asks_is_allowed, server, accounts[job], asked)
                check(f"access: what nobody needs is refused the {job}", what_nobody_needs_is_refused, server, accounts[job])
            check("access: who promotes to the next environment reads release records, and nothing else",
                  a_successor_reads_release_records_alone, server, accounts["successor"])
            check("access: the rotator cannot touch a release", the_rotator_cannot_touch_a_release, server, accounts["rotator"])
            title = "access: regions plans a promotion with the promoter's rights, and with none of the rotator's"
            if regions:
                check(title, the_promoters_rights_suffice_for_a_promotion, server, accounts, regions)
            else:
                skip(title, "regions is not built; cargo build --package regions")
        finally:
            server.stop()


def taken(server, space, accounts):
    said = agreement.outputs(space, ENVIRONMENT)
    # Placeholders of accounts that differ, as e-mail addresses do.
    for context, variables in said["contexts"].items():
        accounts["rotator" if context.endswith("-rotator") else "promoter"] = variables["GOOGLE_SERVICE_ACCOUNT"]
    [accounts["successor"]] = {
        subject["name"] for one in said["access"]["items"] if one["metadata"]["name"] == "meridian-successor" for subject in one.get("subjects", [])}
    assert len(set(accounts.values())) == 3, accounts
    for one in said["access"]["items"]:
        metadata, group = one["metadata"], "/api/v1" if one["kind"] == "Namespace" else RBAC
        place = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
        path = f"{group}{place}/{one['kind'].lower()}s/{metadata['name']}?fieldManager=operator&fieldValidation=Strict"
        status, answer, warnings = server.call("PATCH", path, one, "application/apply-patch+yaml")
        assert status in (200, 201) and not warnings, f"{one['kind']} {metadata}: {answer}{warnings}"


def may(server, account, asked):
    verb, group, resource, name, namespace = asked
    resource, _, subresource = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource, "name": name, "namespace": namespace}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
              "spec": {"user": account, "groups": ["system:authenticated"], "resourceAttributes": attributes}}
    status, answer, _ = server.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    assert status == 201, answer
    return answer["status"]["allowed"]


def are(wanted, server, account, asked):
    wrong = [one for one in asked if may(server, account, one) is not wanted]
    assert asked and not wrong, f"{'refused' if wanted else 'allowed'}: {wrong}"


def what_a_job_asks_is_allowed(server, account, asked):
    are(True, server, account, asked)


def what_nobody_needs_is_refused(server, account):
    are(False, server, account, NOBODY)


def a_successor_reads_release_records_alone(server, account):
    are(True, server, account, RECORDS)
    are(False, server, account, NOBODY + [one for one in BOTH + PROMOTER if one not in RECORDS])


def the_rotator_cannot_touch_a_release(server, account):
    are(False, server, account, [one for one in PROMOTER if one[0] not in ("get", "list")])


def the_promoters_rights_suffice_for_a_promotion(server, accounts, regions):
    images = server.folder / "images.yaml"
    images.write_text(json.dumps(rendering.IMAGES))
    package = [rendering.ROOT / "local/images/package", images, "1.2.3", "1700000000", server.folder]
    subprocess.run(package, check=True, capture_output=True)
    for job, code in {"promoter": 0, "rotator": 1}.items():
        kubeconfig = server.kubeconfig()
        kubeconfig["contexts"][0]["name"] = f"meridian-{ENVIRONMENT}-europe-west4"
        kubeconfig["users"][0]["user"]["as"] = accounts[job]
        file = server.folder / "kubeconfig"
        file.write_text(json.dumps(kubeconfig))
        arguments = ["--catalogue", rendering.CATALOGUES[0], "promote", "--env", ENVIRONMENT, "--release", server.folder / "meridian-1.2.3.tgz",
                     "--helm", os.environ["HELM"], "--kubeconfig", file, "--dry-run"]
        done = subprocess.run([regions, *arguments], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code, f"{job}: {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert ("cannot be promoted to" in done.stderr + done.stdout) == (code != 0), done.stdout + done.stderr
