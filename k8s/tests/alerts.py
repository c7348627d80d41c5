"""The chart's alerts: as alerts.yaml has them, read by Prometheus' own parser, and evaluated by its own engine over
series in which each of them must come, and over others in which it must not."""

import json
import re
import subprocess
from pathlib import Path

import yaml

import rendering
from rendering import CHART, NAMESPACE
from report import check

FILE = CHART / "alerts.yaml"
GROUPS = yaml.safe_load(FILE.read_text())["groups"]
ALERTS = [alert for group in GROUPS for alert in group["rules"]]
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
# The widest bound of the service's buckets: a quantile is never told as more.
WIDEST = 2.5
STEP = 30


def seconds(text):
    count, unit = re.fullmatch(r"([0-9]+)(ms|s|m|h)", text).groups()
    return int(count) * UNITS[unit]


def filled(text, values):
    """A text of the file with the catalogue's numbers in it, as PromQL reads them."""
    words = {
        "ours": f'namespace="{NAMESPACE}"',
        "error_ratio": values["gates"]["error_ratio"],
        "latency": f"{min(seconds(values['gates']['latency_p99']), WIDEST):g}",
        "min": values["workload"]["min"],
        "max": values["workload"]["max"],
    }
    return re.sub(r"(?<![{ ]\$)\$(ours|error_ratio|latency|min|max)\b", lambda word: str(words[word[1]]), text)


def are_those_of_the_file(groups, values):
    """Whether rendered groups are the file's, in its order."""
    wanted = [{
        "name": group["name"],
        "interval": f"{STEP}s",
        "rules": [{
            "alert": alert["alert"],
            "expr": filled(alert["expr"], values),
            "for": alert["for"],
            "labels": {"severity": alert["severity"], "environment": values["environment"], "region": values["region"]},
            "annotations": {key: filled(alert[key], values) for key in ("summary", "runbook")},
        } for alert in group["rules"]],
    } for group in GROUPS]
    for found, want in zip(groups, wanted, strict=True):
        for rule, rule_wanted in zip(found["rules"], want["rules"], strict=True):
            assert rule == rule_wanted, f"{rule}\nwanted {rule_wanted}"
        assert found == want, found["name"]


def read(groups, cases=()):
    """What the reader says of rule groups: the metrics that they read, and the alerts that fire in each case."""
    program = subprocess.run([Path(__file__).parent / "rules/path"], stdout=subprocess.PIPE, text=True, check=True)
    given = {"rules": yaml.safe_dump({"groups": groups}), "cases": list(cases)}
    done = subprocess.run([program.stdout.strip()], input=json.dumps(given), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rendered(**changes):
    """Rule groups of a region with these gates and this workload."""
    values = rendering.values_of(rendering.CATALOGUES[0], "production", "us-east4") | {"monitoring": "operator"}
    for key, value in changes.items():
        values = rendering.changed(values, key.split("__"), value)
    return rendering.only(rendering.template_values(values), "PrometheusRule")["spec"]["groups"]


# Series, by name with labels; each value is a run of numbers from the beginning, one each 30 s.
LONG = 200
ONSET = 20
PODS = ("a", "b", "c")


def series(name, **labels):
    labels = {"namespace": NAMESPACE} | labels
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def always(value):
    return f"{value}x{LONG}"


def turns(before, after):
    """One value for ten minutes, then another."""
    return f"{before}x{ONSET - 1} {after}x{LONG}"


def counts(before, after):
    """A counter that grows by so much a step for ten minutes, then by so much."""
    total = before * ONSET
    return f"0+{before}x{ONSET} {total + after}+{after}x{LONG}"


BOUNDS = ["0.1", "0.25", "0.5", "1.0", "2.5", "+Inf"]


def latencies(per_step, within, route="/oauth2/token"):
    """Buckets of one pod: every request is fast, and from ten minutes on the shares `within` are inside each bound."""
    found = {}
    for bound, share in zip(BOUNDS, within, strict=True):
        name = series("service_request_duration_seconds_bucket", pod="a", route=route, le=bound)
        found[name] = counts(per_step, round(per_step * share))
    return found | {series("service_request_duration_seconds_count", pod="a", route=route): always_counting(per_step)}


def always_counting(per_step):
    return f"0+{per_step}x{LONG}"


def requests(code, per_step_before, per_step_after, route="/oauth2/token"):
    name = series("service_requests_total", pod="a", route=route, code=code)
    return {name: counts(per_step_before, per_step_after)}


def of(metric, values, **labels):
    """The same metric of each pod."""
    return {series(metric, pod=pod, **labels): value for pod, value in zip(PODS, values, strict=True)}


def healthy():
    """A region in which nothing is wrong: three pods, some load, a certificate for 90 days."""
    found = of("service_ready", [always(1)] * 3) | of("service_drained", [always(0)] * 3)
    found |= of("service_certificate_not_after_timestamp_seconds", [always(90 * 86400)] * 3)
    found |= of("service_connections_over_limit_total", [always(0)] * 3)
    found |= requests("200", 3000, 3000) | requests("401", 100, 100) | requests("500", 0, 0)
    found |= requests("503", 0, 0) | requests("200", 10, 10, "/trafficz") | requests("503", 0, 0, "/trafficz")
    found |= latencies(3000, [1, 1, 1, 1, 1, 1])
    for document in ("config", "tls"):
        found |= of("service_document_version", [always(7)] * 3, document=document)
        found |= of("service_document_rejected", [always(0)] * 3, document=document)
    for secret in ("config", "tls"):
        found |= of("secrets_agent_secret_version", [always(7)] * 3, secret=secret)
        found |= of("secrets_agent_secret_stale", [always(0)] * 3, secret=secret)
        found |= of("secrets_agent_secret_stepped_back", [always(0)] * 3, secret=secret)
    found |= of("secrets_agent_vault_state", [always(1)] * 3, state="ok")
    found |= of("secrets_agent_vault_state", [always(0)] * 3, state="unreachable")
    found |= of("secrets_agent_instances", [always(1)] * 3) | of("secrets_agent_values_not_locked", [always(0)] * 3)
    found |= of("secrets_agent_refused_callers_total", [always(0)] * 3)
    return found | elsewhere()


def elsewhere():
    """Series of the same names in another namespace, which would start each alert there is, or hide it."""
    there, found = {"namespace": "other"}, {}
    for pod, state in (("x", 1), ("y", 0)):
        for metric in ("service_ready", "secrets_agent_instances"):
            found[series(metric, pod=pod, **there)] = always(state)
        found[series("secrets_agent_vault_state", pod=pod, state="ok", **there)] = always(state)
    for metric, value in (("service_drained", 1), ("service_certificate_not_after_timestamp_seconds", 5),
                          ("secrets_agent_values_not_locked", 1)):
        found[series(metric, pod="x", **there)] = always(value)
    for metric in ("service_connections_over_limit_total", "secrets_agent_refused_callers_total"):
        found[series(metric, pod="x", **there)] = always_counting(9)
    found[series("service_requests_total", pod="x", route="/oauth2/token", code="500", **there)] = always_counting(9000)
    for bound in BOUNDS:
        name = series("service_request_duration_seconds_bucket", pod="x", route="/oauth2/token", le=bound, **there)
        found[name] = always_counting(9000 if bound == "+Inf" else 0)
    found[series("service_request_duration_seconds_count", pod="x", route="/oauth2/token", **there)] = always_counting(9000)
    found[series("service_document_rejected", pod="x", document="tls", **there)] = always(1)
    found[series("service_document_version", pod="x", document="tls", **there)] = always(3)
    for metric, value in (("version", 7), ("stale", 1), ("stepped_back", 1)):
        found[series(f"secrets_agent_secret_{metric}", pod="x", secret="tls", **there)] = always(value)
    return found


def one(metric, before, after, **labels):
    """The metric turns on the first pod alone."""
    return of(metric, [turns(before, after), always(before), always(before)], **labels)


def all_of(metric, before, after, **labels):
    return of(metric, [turns(before, after)] * 3, **labels)


GONE = {name: f"1x{ONSET} stale" for name in of("service_ready", [""] * 3)}
# What changes in a healthy region, from ten minutes on; then minutes at which to look, each with the alerts that fire,
# by name and the labels that tell one from another.
CASES = {
    "nothing": ({}, {40: []}),
    "no pod is ready": (all_of("service_ready", 1, 0), {11: [], 13: ["MeridianDown"], 21: ["MeridianDown", "MeridianFewPods"]}),
    "no pod can be seen": (GONE, {11: [], 13: ["MeridianDown"]}),
    "one of three pods is not ready": (one("service_ready", 1, 0), {40: []}),
    "two of three pods are not ready": (
        of("service_ready", [turns(1, 0), turns(1, 0), always(1)]), {19: [], 21: ["MeridianFewPods"]}),
    "2 % of the requests fail": (requests("500", 0, 60), {13.5: [], 14.5: ["MeridianErrors"], 40: ["MeridianErrors"]}),
    "2 % of the requests find nobody": (requests("503", 0, 60), {13.5: [], 14.5: ["MeridianErrors"]}),
    "2 % of the requests fail, for two minutes": (
        {series("service_requests_total", pod="a", route="/oauth2/token", code="500"): f"0x{ONSET} 60 120 180 240 240x{LONG}"},
        {minute: [] for minute in (11, 12, 13, 14, 16)}),
    "0.9 % of the requests fail": (requests("500", 0, 27), {20: []}),
    "requests fail, but they are few": (
        requests("500", 0, 0) | requests("200", 0, 0) | requests("401", 0, 0) | {
            series("service_requests_total", pod="a", route="/oauth2/token", code="503"): f"0x{ONSET} 5x{LONG}"},
        {12: [], 20: []}),
    "every client is refused": (requests("401", 100, 3000), {20: []}),
    "the health check is told that the region is drained": (requests("503", 0, 200, "/trafficz"), {20: []}),
    "2 % of the requests are slow": (latencies(3000, [0.9, 0.98, 1, 1, 1, 1]), {17: [], 18: ["MeridianSlow"]}),
    "requests take nearly as long as they may": (latencies(3000, [0.9, 1, 1, 1, 1, 1]), {30: []}),
    "the health check is slow": (latencies(3000, [0, 0, 0, 0, 0, 1], "/trafficz"), {30: []}),
    "0.9 % of the requests are slow": (latencies(3000, [0.9, 0.991, 1, 1, 1, 1]), {21: []}),
    "requests are slow, but few": (latencies(8, [0, 0, 0, 1, 1, 1]), {21: []}),
    "connections are refused": (
        of("service_connections_over_limit_total", [counts(0, 1), always(0), always(0)]),
        {14: [], 17: ["MeridianRefusesConnections"]}),
    "a connection is refused now and then": (
        of("service_connections_over_limit_total", [
            f"0x{ONSET - 1} " + " ".join(f"{n}x3" for n in range(1, 20)), always(0), always(0)]),
        {14: [], 17: ["MeridianRefusesConnections"]}),
    "ten pods": (
        {series("service_ready", pod=f"more-{n}"): turns(0, 1) for n in range(7)}, {39: [], 41: ["MeridianAtItsMost"]}),
    "nine pods": ({series("service_ready", pod=f"more-{n}"): turns(0, 1) for n in range(6)}, {60: []}),
    "the certificate ends in two days": (
        of("service_certificate_not_after_timestamp_seconds", [always(2 * 86400), *[always(90 * 86400)] * 2]),
        {9: [], 11: ["MeridianCertificateEnds"], 61: ["MeridianCertificateEnds", "MeridianCertificateEndsSoon"]}),
    "the certificate ends in a week": (
        of("service_certificate_not_after_timestamp_seconds", [always(7 * 86400)] * 3),
        {59: [], 61: ["MeridianCertificateEndsSoon"]}),
    "a pod that has no certificate yet": (
        of("service_certificate_not_after_timestamp_seconds", [always(0), *[always(90 * 86400)] * 2]), {61: []}),
    "a document is rejected": (
        one("service_document_rejected", 0, 1, document="tls"), {14: [], 16: ["MeridianDocumentRejected document=tls"]}),
    "a pod is behind": (
        one("service_document_version", 7, 6, document="tls"), {24: [], 26: ["MeridianPodsDiffer document=tls"]}),
    "all pods go on to the next version": (all_of("service_document_version", 7, 8, document="tls"), {40: []}),
    "Vault is away": (
        all_of("secrets_agent_vault_state", 1, 0, state="ok") | all_of("secrets_agent_secret_stale", 0, 1, secret="tls"),
        {19: [], 21: ["MeridianVaultAway"], 60: ["MeridianVaultAway"]}),
    "one agent has no Vault": (
        one("secrets_agent_vault_state", 1, 0, state="ok"), {24: [], 26: ["MeridianAgentWithoutVault pod=a"]}),
    "a secret is nowhere": (
        all_of("secrets_agent_secret_version", 7, 0, secret="tls"), {19: [], 21: ["MeridianSecretMissing secret=tls"]}),
    "a pod that starts has no secret yet": (one("secrets_agent_secret_version", 7, 0, secret="tls"), {40: []}),
    "a secret is stale": (
        one("secrets_agent_secret_stale", 0, 1, secret="tls"), {39: [], 41: ["MeridianSecretStale secret=tls"]}),
    "Vault was restored": (
        one("secrets_agent_secret_stepped_back", 0, 1, secret="tls"), {10.5: [], 11.5: ["MeridianSecretSteppedBack secret=tls"]}),
    "a service does not watch": (
        one("secrets_agent_instances", 1, 0), {19: [], 21: ["MeridianNobodyWatches pod=a"]}),
    "memory is not locked": (
        one("secrets_agent_values_not_locked", 0, 1), {14: [], 16: ["MeridianSecretsNotLocked pod=a"]}),
    "a stranger at the socket": (
        one("secrets_agent_refused_callers_total", 0, 1), {9: [], 10: ["MeridianStrangerAtSocket pod=a"], 21: []}),
}


def day(drained, elsewhere, hours):
    """Half a day and more, with a sample each ten minutes."""
    lines = [f"{series(name, pod=pod)} {value}x200" for pod in PODS for name, value in (("service_ready", 1), ("service_drained", drained))]
    lines.append(f"{series('service_drained', namespace='other', pod='x')} {elsewhere}x200")
    name = f"drained {drained}, elsewhere {elsewhere}, {hours} h"
    return {"name": name, "step": "10m", "until": f"{hours}h", "series": lines}


def scenario(name, changes, minute):
    lines = [f"{key} {value}" for key, value in (healthy() | changes).items()]
    return {"name": f"{name}, after {minute} min", "step": f"{STEP}s", "until": f"{minute * 60:.0f}s", "series": lines}


def told(alert):
    """An alert by its name and what tells it from others of that name."""
    own = {"alertname", "severity", "environment", "region"}
    more = [f"{key}={value}" for key, value in sorted(alert.items()) if key not in own and not key.startswith("annotation:")]
    return " ".join([alert["alertname"], *more])


def each_comes_when_it_should(groups):
    looks = {(name, minute): wanted for name, (_, times) in CASES.items() for minute, wanted in times.items()}
    cases = [scenario(name, CASES[name][0], minute) for name, minute in looks]
    days = [(day(1, 0, 11), []), (day(1, 0, 13), ["MeridianDrained"]), (day(0, 1, 13), [])]
    cases += [case for case, _ in days]
    fired = read(groups, cases)["alerts"]
    wrong, seen = [], set()
    for (name, minute), wanted in looks.items():
        found = fired[f"{name}, after {minute} min"]
        seen |= {alert["alertname"] for alert in found}
        if sorted(map(told, found)) != sorted(wanted):
            wrong.append(f"{name}, after {minute} min: {sorted(map(told, found))}, wanted {sorted(wanted)}")
        for alert in found:
            assert "<no value>" not in alert["annotation:summary"] and "$" not in alert["annotation:summary"], alert
            assert alert["region"] == "us-east4" and alert["environment"] == "production", alert
    assert not wrong, "\n".join(wrong)
    for case, wanted in days:
        assert [told(alert) for alert in fired[case["name"]]] == wanted, case["name"]
    missing = {alert["alert"] for alert in ALERTS} - seen - {"MeridianDrained"}
    assert not missing, f"no case in which they come: {missing}"


def a_limit_beyond_the_buckets_still_wakes():
    """A quantile beyond the widest bucket is told as its bound; a limit above it would never be met."""
    groups = rendered(gates__latency_p99="1m")
    slow = latencies(3000, [0, 0, 0, 0, 0, 1])
    [found] = read(groups, [scenario("slow", slow, 25)])["alerts"].values()
    assert [told(a) for a in found] == ["MeridianSlow"], found


def limits_are_the_catalogues():
    groups = rendered(gates__error_ratio=0.5, workload__min=4, workload__max=5)
    [found] = read(groups, [scenario("errors", requests("500", 0, 60), 40)])["alerts"].values()
    assert [told(a) for a in found] == ["MeridianFewPods"], found


def every_alert_says_what_to_do():
    names = [alert["alert"] for alert in ALERTS]
    assert len(set(names)) == len(names), names
    for alert in ALERTS:
        assert set(alert) == {"alert", "severity", "for", "expr", "summary", "runbook"}, alert
        assert alert["severity"] in ("page", "ticket") and alert["alert"].startswith("Meridian")
        assert len(alert["runbook"]) > 60 and alert["runbook"].endswith((".", "?")), alert["runbook"]
        for selector in re.findall(r"\b(?:service|secrets_agent)_[a-z_]+(.?.?.?.?.?)", alert["expr"]):
            assert selector == "{$our", f"{alert['alert']} reads other namespaces too"


def broken_rules_are_refused(groups):
    for change in ("sum(", "service_ready{", "rate(service_ready)"):
        broken = json.loads(json.dumps(groups))
        broken[0]["rules"][0]["expr"] = change
        try:
            read(broken)
        except AssertionError as error:
            assert "MeridianDown" in str(error) or "parse" in str(error), error
        else:
            raise AssertionError(f"{change} was read")


def run():
    """Reads the alerts and evaluates them."""
    check("every alert names its region's own series, and says what to do", every_alert_says_what_to_do)
    groups = rendered()
    check("Prometheus reads the alerts, and refuses broken ones", broken_rules_are_refused, groups)
    looks = sum(len(times) for _, times in CASES.values()) + 3
    check(f"each of {len(ALERTS)} alerts comes when it should and only then: {looks} looks", each_comes_when_it_should, groups)
    check("a limit beyond the widest bucket still wakes", a_limit_beyond_the_buckets_still_wakes)
    check("limits are the catalogue's", limits_are_the_catalogues)
