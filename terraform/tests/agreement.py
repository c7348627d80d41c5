"""Where Terraform, the chart, the pipeline and the service must say the same: what one makes, another names."""

import functools
import importlib.util
import itertools
import json
import os
import re
import subprocess
from importlib.machinery import SourceFileLoader

import rendering
import server
import yaml

import plans
from workspace import CATALOGUE, ENVIRONMENTS, TERRAFORM, resources

ROOT = TERRAFORM.parent
# Kubernetes' and Google's names of one thing.
EFFECTS = {"NO_SCHEDULE": "NoSchedule", "PREFER_NO_SCHEDULE": "PreferNoSchedule", "NO_EXECUTE": "NoExecute"}
IDENTITY = "iam.gke.io/gcp-service-account"
ADDRESSES = "networking.gke.io/load-balancer-ip-addresses"


def checks(check, space):
    for name in ENVIRONMENTS:
        check(f"chart: every taint of {name} is tolerated, and Vault's by Vault alone", tolerated, space, name)
        check(f"chart: a pod's end fits into what the nodes of {name} give it", ended, space, name)
        check(f"chart: identities of {name} are bound on both sides, and no others", bound, space, name)
        check(f"chart: the Service of each region of {name} has the address that DNS answers with", addressed, space, name)
        check(f"chart: Vault's address is where {name} lets its pods speak", reachable, space, name)
        check(f"pipeline: it finds the clusters of {name} as Terraform makes them", found, space, name)
        check(f"pipeline: contexts of {name} hold what its jobs read", contexts_hold_what_their_jobs_read, space, name)
        check(f"pipeline: what is rendered for {name} may be written, and no secret may be read", covered, space, name)
    check("pipeline: Google takes tokens of this project, branch and context alone", google_takes_tokens_of_this_project_branch_and_context_alone, space)
    check("pipeline: Google and Vault are bound to the same claims", claims, space)
    check("service: it answers where DNS asks", asked, space)
    check("service: the README's time of a fail-over is the one that is worked out", worked_out, space)


@functools.cache
def rendered(environment):
    """(region, the chart's objects) of each region of an environment."""
    names = sorted(file.stem for file in (CATALOGUE / environment).glob("[!_]*.yaml"))
    return [(name, rendering.template(rendering.value_arguments(CATALOGUE, environment, name))) for name in names]


def pod(objects, name="service"):
    return rendering.only(objects, "Deployment", name)["spec"]["template"]["spec"]


@functools.cache
def outputs(space, environment):
    said = json.loads(space.done(plans.applied(space, environment), "output", "-json"))
    return {name: one["value"] for name, one in said.items()}


def planned(space, environment):
    return resources(plans.still(space, environment))


def pools(space, environment, region, module="region"):
    prefix = f'module.{module}["{region}"].google_container_node_pool.'
    found = {values["name"]: values for address, values in planned(space, environment).items() if address.startswith(prefix)}
    assert found, prefix
    return found


def tolerates(tolerations, taint):
    return any(
        one.get("key") == taint["key"] and one.get("effect") in (None, EFFECTS[taint["effect"]])
        and (one.get("operator") == "Exists" or one.get("value") == taint["value"])
        for one in tolerations)


def taints(pool):
    return pool["node_config"][0].get("taint", [])


def tolerated(space, environment):
    values, seen = outputs(space, environment)["vault_values"], 0
    for region, objects in rendered(environment):
        tolerations = pod(objects)["tolerations"]
        for name, pool in pools(space, environment, region).items():
            for taint in taints(pool):
                assert tolerates(tolerations, taint), f"{region}: pods do not tolerate {taint} of the pool {name}"
                seen += 1
            # The chart shares pods out over pools by this label.
            assert pool["node_config"][0]["labels"] == {"meridian.internal/pool": name}
        keys = {one["topologyKey"] for one in pod(objects)["topologySpreadConstraints"]}
        assert "meridian.internal/pool" in keys, keys
        [vault] = pools(space, environment, region, "vault").values()
        [taint] = taints(vault)
        server = values[region]["server"]
        assert tolerates(server["tolerations"], taint), f"{region}: Vault does not tolerate its own nodes"
        for workload in ("service", "watcher"):
            others = pod(objects, workload).get("tolerations", [])
            assert not tolerates(others, taint), f"{region}: the pods of {workload} may take Vault's nodes"
        assert server["nodeSelector"].items() <= vault["node_config"][0]["labels"].items()
    assert seen, "no pool has a taint"


def ended(space, environment):
    said = outputs(space, environment)["regions"]
    for region, objects in rendered(environment):
        grace, tolerations = pod(objects)["terminationGracePeriodSeconds"], pod(objects)["tolerations"]
        for name, pool in pools(space, environment, region).items():
            if all(tolerates(tolerations, taint) for taint in taints(pool)):
                most = said[region]["shutdown_seconds"][name]
                assert 0 < grace <= most, f"{region}: {grace} s, and the pool {name} gives {most} s"


def bound(space, environment):
    """ServiceAccounts of the chart and of Vault that are annotated with a Google account, and Google's bindings."""
    bindings = {
        match[1]: values["member"] for address, values in planned(space, environment).items()
        if "google_service_account_iam_member" in address
        and (match := re.search(r"svc\.id\.goog\[(.*)\]$", values["member"]))
    }
    project = re.search(r"^project: (\S+)", (CATALOGUE / environment / "_environment.yaml").read_text(), re.MULTILINE)[1]
    annotated = set()
    for _, objects in rendered(environment):
        for one in objects:
            if one["kind"] == "ServiceAccount" and IDENTITY in one["metadata"].get("annotations", {}):
                annotated.add(f"{one['metadata']['namespace']}/{one['metadata']['name']}")
    # Vault's own is annotated by `regions` (regions/tests/terraform); its snapshots' by who takes them.
    ours = {account for account in bindings if account.split("/")[0] == rendering.NAMESPACE}
    assert ours == annotated, f"bound in Google Cloud: {ours}; annotated in the chart: {annotated}"
    assert set(bindings) - ours == {"vault/vault", "vault/vault-snapshots"}, bindings
    for account, member in bindings.items():
        assert member == f"serviceAccount:{project}.svc.id.goog[{account}]"


def addressed(space, environment):
    said = outputs(space, environment)["regions"]
    for region, objects in rendered(environment):
        service = rendering.only(objects, "Service", "service")
        assert service["metadata"]["annotations"][ADDRESSES] == said[region]["entry"]["name"], region
        address = planned(space, environment)[f'module.entry.google_compute_address.region["{region}"]']
        assert (address["name"], address["region"]) == (said[region]["entry"]["name"], said[region]["location"])


def reachable(space, environment):
    """The internal address is one of the nodes' subnetwork: the part of the range that the chart lets pods reach."""
    for region, objects in rendered(environment):
        policy = rendering.only(objects, "NetworkPolicy", "service")
        blocks = [to["ipBlock"]["cidr"] for rule in policy["spec"]["egress"] for to in rule["to"] if "ipBlock" in to
                  and {"port": 8200, "protocol": "TCP"} in rule["ports"]]
        subnetwork = planned(space, environment)[f'module.network.google_compute_subnetwork.region["{region}"]']
        assert blocks == [subnetwork["ip_cidr_range"]], f"{region}: {blocks}"
        values = outputs(space, environment)["vault_values"][region]
        address = planned(space, environment)[f'module.vault["{region}"].google_compute_address.vault']
        assert values["ui"]["annotations"][ADDRESSES] == address["name"]


def google():
    """.circleci/bin/google, as a module."""
    loader = SourceFileLoader("google_login", str(ROOT / ".circleci" / "bin" / "google"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("google_login", loader))
    loader.exec_module(module)
    return module


def found(space, environment):
    project, regions = google().regions(environment)
    clusters = {
        (values["project"], values["name"], values["location"])
        for address, values in planned(space, environment).items() if "google_container_cluster" in address
    }
    # As kubeconfig() names them.
    assert clusters == {(project, f"meridian-{environment}-{region}", location) for region, location in regions}


def contexts_hold_what_their_jobs_read(space, environment):
    """Variables of the contexts that config.yml names, and those that the scripts read."""
    read = set(re.findall(r'setting\("([A-Z_]+)"\)', (ROOT / ".circleci" / "bin" / "google").read_text()))
    named = set(re.findall(r"meridian-[a-z]+", (ROOT / ".circleci" / "config.yml").read_text()))
    said = outputs(space, environment)["contexts"]
    shared = outputs(space, "delivery")["contexts"]
    assert {f"meridian-{environment}", "meridian-registry"} <= named and f"meridian-{environment}" in said
    for context, variables in (said | shared).items():
        # The rest is of the job: files that it writes, and its token.
        wanted = {"IMAGE_REPOSITORY", "GOOGLE_PROVIDER", "GOOGLE_SERVICE_ACCOUNT"}
        wanted |= {"ATTESTOR", "SIGNING_KEY"} if context == "meridian-registry" else set()
        assert set(variables) == read & wanted == wanted, context
    repositories = {variables["IMAGE_REPOSITORY"] for variables in (said | shared).values()}
    assert len(repositories) == 1, repositories


def covered(space, environment):
    items = outputs(space, environment)["access"]["items"]
    for job in ("promoter", "rotator"):
        for one in items:
            for rule in one.get("rules", []):
                assert "*" not in rule["resources"] + rule["verbs"] + rule["apiGroups"], one
                assert not {"secrets", "pods/exec", "pods/attach", "serviceaccounts/token"} & set(rule["resources"]), one
        if job == "rotator":
            continue
        may = {}
        for role in items:
            if role["kind"] in ("Role", "ClusterRole") and role["metadata"].get("namespace") in (rendering.NAMESPACE, None):
                for rule in role["rules"]:
                    for group, resource, name in itertools.product(rule["apiGroups"], rule["resources"], rule.get("resourceNames", [None])):
                        may.setdefault((role["metadata"].get("namespace"), group, resource, name), set()).update(rule["verbs"])
        for _, objects in rendered(environment):
            for one in objects:
                group = one["apiVersion"].split("/")[0] if "/" in one["apiVersion"] else ""
                plural = server.PLURALS[one["kind"]]
                # Rights in the whole cluster are by name.
                whole = one["kind"] in server.WHOLE
                place = (None, group, plural, one["metadata"]["name"]) if whole else (rendering.NAMESPACE, group, plural, None)
                assert {"get", "create", "patch", "delete"} <= may.get(place, set()), f"{one['kind']}: {may}"


def token(pipeline, **changed):
    """A token's claims as CircleCI writes them."""
    return {
        "iss": f"https://oidc.circleci.com/org/{pipeline['organisation']}", "aud": [pipeline["organisation"]],
        "sub": f"org/{pipeline['organisation']}/project/{pipeline['project']}/user/7a9f2c10-0000-4000-8000-000000000000",
        "oidc.circleci.com/project-id": pipeline["project"],
        "oidc.circleci.com/context-ids": [pipeline["contexts"]["promoter"]],
        "oidc.circleci.com/vcs-ref": "refs/heads/main",
        "oidc.circleci.com/vcs-origin": "github.com/example/meridian",
        "oidc.circleci.com/ssh-rerun": False,
    } | {f"oidc.circleci.com/{claim.replace('_', '-')}": value for claim, value in changed.items()}


def evaluated(provider, tokens):
    expressions = {"condition": provider["attribute_condition"]} | provider["attribute_mapping"]
    asked = json.dumps({"expressions": expressions, "tokens": tokens})
    ran = subprocess.run([os.environ["CEL"]], input=asked, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def google_takes_tokens_of_this_project_branch_and_context_alone(space):
    """The conditions as planned, evaluated by Google's own implementation of their language over claims of tokens."""
    for environment in (*ENVIRONMENTS, "delivery"):
        [provider] = [values for address, values in planned(space, environment).items() if "workload_identity_pool_provider" in address]
        pipeline = catalogued(space, "qa" if environment == "delivery" else environment)
        assert provider["oidc"] == [{
            "issuer_uri": f"https://oidc.circleci.com/org/{pipeline['organisation']}",
            "allowed_audiences": [pipeline["organisation"]],
        }]
        promoter, rotator = pipeline["contexts"]["promoter"], pipeline["contexts"]["rotator"]
        other = "00000000-0000-4000-8000-000000000000"
        taken = [token(pipeline), token(pipeline, context_ids=[other, promoter])]
        refused = [
            token(pipeline, project_id=other),
            token(pipeline, vcs_ref="refs/heads/topic"),
            token(pipeline, vcs_ref="refs/tags/main"),
            token(pipeline, vcs_ref="refs/pull/1/head"),
            token(pipeline, ssh_rerun=True),
            token(pipeline, ssh_rerun="false"),
            {name: value for name, value in token(pipeline).items() if not name.endswith("ssh-rerun")},
            {name: value for name, value in token(pipeline).items() if not name.endswith("vcs-ref")},
        ]
        if environment != "delivery":
            taken.append(token(pipeline, context_ids=[rotator]))
            staging = catalogued(space, "staging" if environment != "staging" else "qa")
            refused += [token(pipeline, context_ids=[]), token(pipeline, context_ids=[other]),
                        token(pipeline, context_ids=[staging["contexts"]["promoter"]])]
        answers = evaluated(provider, taken + refused)
        for claims, answer in zip(taken, answers):
            assert answer["condition"] is True, f"{environment}: refused: {claims}: {answer}"
            # Google's bound of a subject.
            assert 1 <= len(answer["google.subject"].encode()) <= 127
            if environment != "delivery":
                job = "promoter" if promoter in claims["oidc.circleci.com/context-ids"] else "rotator"
                assert answer["attribute.job"] == job, answer
        for claims, answer in zip(refused, answers[len(taken):]):
            assert answer["condition"] is not True, f"{environment}: taken: {claims}"


def catalogued(space, environment):
    """The pipeline that an environment's file names."""
    text = (space.catalogue(environment) / "_environment.yaml").read_text()
    return yaml.safe_load(text)["pipeline"]


def claims(space):
    """The claims of Vault's roles, as regions writes them, are those of the condition."""
    source = (ROOT / "regions" / "src" / "plan" / "vault" / "desired.rs").read_text()
    theirs = set(re.findall(r'"(oidc\.circleci\.com/[a-z-]+)":', source))
    for environment in ENVIRONMENTS:
        [provider] = [values for address, values in planned(space, environment).items() if "workload_identity_pool_provider" in address]
        ours = set(re.findall(r"assertion\['(oidc\.circleci\.com/[a-z-]+)'\]", provider["attribute_condition"]))
        assert ours == theirs and len(ours) == 4, f"Google: {ours}; Vault: {theirs}"


def asked(space):
    for environment in ENVIRONMENTS:
        check = planned(space, environment)["module.entry.google_compute_health_check.this"]
        [https] = check["https_health_check"]
        assert check["check_interval_sec"] >= 30 and len(set(check["source_regions"])) == 3
        for _, objects in rendered(environment):
            assert https["port"] in [port["port"] for port in rendering.only(objects, "Service", "service")["spec"]["ports"]]
        served = subprocess.run(["grep", "-rlF", f'"{https["request_path"]}"', ROOT / "service" / "src"], capture_output=True, text=True, check=False)
        assert served.stdout, f"the service knows no {https['request_path']}"


def worked_out(space):
    readme = (TERRAFORM / "modules" / "entry" / "README.md").read_text()
    said = outputs(space, "production")["entry"]["failover_seconds"]
    check = planned(space, "production")["module.entry.google_compute_health_check.this"]
    answer = planned(space, "production")[plans.ANSWER]
    unhealthy, interval, timeout = (check[key] for key in ("unhealthy_threshold", "check_interval_sec", "timeout_sec"))
    assert said == unhealthy * interval + timeout + answer["ttl"]
    assert f"| {unhealthy} × {interval} + {timeout} = {unhealthy * interval + timeout} |" in readme
    assert f"| {answer['ttl']} | `ttl` |" in readme and f"| **{said}** |" in readme
