"""Values that the chart must refuse, and what it must say."""

import copy

import rendering
from rendering import IMAGES, Refused, changed, template_values
from report import check

BASE = rendering.values_of(rendering.CATALOGUES[0], "production", "us-east4")
GONE = object()

# Where, what stands there, and what Helm must say. The place is in the message too.
REFUSED = [
    (("environment",), GONE, "missing property 'environment'"),
    (("environment",), "Production", "/environment"),
    (("region",), "_environment", "/region"),
    (("reigon",), "us-east4", "additional properties 'reigon' not allowed"),
    (("order",), 0, "/order"),
    (("order",), GONE, "missing property 'order'"),
    (("project",), "Meridian", "/project"),
    (("domain",), "https://meridian.example", "/domain"),
    (("domain",), "meridian", "/domain"),
    (("waves",), [], "/waves"),
    (("waves",), ["first", "first", "second"], "/waves"),
    (("wave",), "third", "wave: third is none of the environment's waves (first, second)"),
    (("bake", "time"), 30, "/bake/time"),
    (("bake", "samples"), 0, "/bake/samples"),
    (("bake", "sample"), 1, "additional properties 'sample' not allowed"),
    (("gates", "error_ratio"), 1, "/gates/error_ratio"),
    (("gates", "error_ratio"), 0, "/gates/error_ratio"),
    (("gates", "latency_p99"), "250", "/gates/latency_p99"),
    (("ceilings", "leeway"), GONE, "missing property 'leeway'"),
    (("ceilings", "token_life"), "an hour", "/ceilings/token_life"),
    (("secrets", "tls"), GONE, "missing property 'tls'"),
    (("secrets", "tls", "kind"), "clients", "/secrets/tls/kind"),
    (("secrets", "clients", "generator"), GONE, "/secrets/clients"),
    (("secrets", "signing-keys", "generator"), "random", "/secrets/signing-keys/generator"),
    (("secrets", "Extra"), {"kind": "value"}, "Extra"),
    (("secrets", "extra"), {"kind": "database"}, "/secrets/extra/kind"),
    (("secrets", "extra"), {"kind": "value", "generator": "ec-p256"}, "/secrets/extra/generator"),
    (("workload", "min"), 1, "/workload/min"),
    (("workload", "max"), 11, "/workload/max"),
    (("workload", "cpu"), 0, "/workload/cpu"),
    (("workload", "min"), "2", "/workload/min"),
    (("workload",), {"min": 5, "max": 3, "cpu": 70}, "workload: min 5 is above max 3"),
    (("location",), "us-east", "/location"),
    (("range",), "8.0.0.0/14", "/range"),
    (("range",), "10.0.0.0/24", "/range"),
    (("geo",), "Europe", "/geo"),
    (("zones",), ["europe-west4-a"], "/zones/0"),
    (("zones",), ["a", "a"], "/zones"),
    (("defaults", "wave"), "first", "additional properties 'wave' not allowed"),
    (("defaults",), GONE, "missing property"),
    (("defaults", "pools", "spot", "spott"), True, "additional properties 'spott' not allowed"),
    (("defaults", "pools", "spot", "machine"), GONE, "missing property 'machine'"),
    (("defaults", "pools", "spot", "max"), 0, "/defaults/pools/spot/max"),
    (("defaults", "pools", "spot", "min"), 9, "pools.spot: min 9 is above max 8"),
    (("defaults", "pools", "on-demand", "spot"), True, "pools: the pools that are not spot hold 0 nodes at most"),
    (("pools",), {"one": {"machine": "e2-small", "min": 1, "max": 1}}, "hold 1 nodes at most"),
    (("vault", "address"), "http://vault.example:8200", "/vault/address"),
    (("vault", "address"), "https://user@vault.example:8200", "/vault/address"),
    (("vault", "adress"), "https://vault.example:8200", "additional properties 'adress' not allowed"),
    (("kubernetes", "context"), "", "/kubernetes/context"),
    (("watcher", "address"), 9092, "/watcher/address"),
    (("monitoring",), "gogle", "/monitoring"),
    (("monitoring",), True, "/monitoring"),
    (("defaults", "monitoring"), "prometheus", "/defaults/monitoring"),
]

IMAGES_REFUSED = [
    (IMAGES | {"service": ""}, "images.yaml: service must name an image by digest"),
    (IMAGES | {"regions": ""}, "images.yaml: regions must name an image by digest"),
    (IMAGES | {"service": "registry.example/service:1.2.3"}, 'found "registry.example/service:1.2.3"'),
    (IMAGES | {"secrets-agent": "registry.example/a@sha256:abc"}, "secrets-agent must name an image by digest"),
    (IMAGES | {"service": "a\nb@sha256:" + "a" * 64}, "service must name an image by digest"),
]


def without(values, path):
    copied = copy.deepcopy(values)
    place = copied
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return copied


def refused(values, said, chart=rendering.RELEASE):
    try:
        template_values(values, chart)
    except Refused as error:
        assert said in str(error), f"expected {said!r} in:\n{error}"
    else:
        raise AssertionError("it was rendered")


def run():
    """Each bad value, refused with what is wrong and where."""
    check("the values that the bad ones are made from are good", template_values, BASE)
    for path, value, said in REFUSED:
        shown = "left out" if value is GONE else f"= {value!r}"
        values = without(BASE, path) if value is GONE else changed(BASE, path, value)
        check(f"refused: {'.'.join(path)} {shown}", refused, values, said)
    for images, said in IMAGES_REFUSED:
        check(f"refused: {said}", refused, BASE, said, rendering.chart_with(images))
