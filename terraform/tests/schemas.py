"""The schema: that it is the package's, that it is served as it stands, and that it refuses what the real one does."""

import json
import subprocess
import sys

from workspace import ENVIRONMENTS, SCHEMA, SOURCE, TESTS

# One edit each of the copied modules and what Terraform says then: file, text, replacement, message.
REFUSED = {
    "an unknown argument": (
        "region/nodes.tf", "spot         = each.value.spot", "spott        = each.value.spot",
        'An argument named "spott" is not expected here. Did you mean "spot"?'),
    "an unknown block": (
        "region/main.tf", "release_channel {", "release_chanel {",
        'Blocks of type "release_chanel" are not expected here. Did you mean "release_channel"?'),
    "a wrong type": (
        "network/firewall.tf", "priority      = 65534", 'priority      = "last"',
        'Inappropriate value for attribute "priority": a number is required.'),
    "a wrong type deep in a block": (
        "network/main.tf", "flow_sampling        = 0.5", "flow_sampling        = [0.5]",
        'Inappropriate value for attribute "flow_sampling": number required'),
    "a missing required argument": (
        "network/egress.tf", "  router  = google_compute_router.region[each.key].name\n", "",
        'The argument "router" is required, but no definition was found.'),
    "an unknown attribute of a resource": (
        "network/firewall.tf", "google_compute_network.this.id", "google_compute_network.this.idd",
        'This object has no argument, nested block, or exported attribute named "idd". Did you mean "id"?'),
    "a block too many": (
        "region/main.tf", "  release_channel {", '  release_channel {\n    channel = "RAPID"\n  }\n  release_channel {',
        'No more than 1 "release_channel" blocks are allowed'),
    "what only the provider sets": (
        "region/nodes.tf", "  account_id   = ", '  email        = "nodes@example.com"\n  account_id   = ',
        'Can\'t configure a value for "email": its value will be decided automatically'),
    "an unknown resource type": (
        "network/egress.tf", 'resource "google_compute_router" "region"', 'resource "google_compute_routr" "region"',
        'The provider hashicorp/google does not support resource type "google_compute_routr".'),
}


def generated(check, skip):
    name = "schema: what the pinned package says"
    ran = subprocess.run(
        [sys.executable, TESTS / "schema" / "generate.py", "--check"], capture_output=True, text=True, check=False)
    if ran.returncode == 75:
        skip(name, ran.stderr.strip())
    else:
        check(name, same, ran)


def same(ran):
    assert ran.returncode == 0, ran.stdout + ran.stderr


def checks(check, space):
    check("schema: Terraform sees what the file says", served, space)
    for what, edit in REFUSED.items():
        check(f"schema: {what} is refused", refused, space, edit)


def served(space):
    """`terraform providers schema -json` gives the committed file back, but for what it adds to each entry, and for
    empty maps of attributes, which it leaves out."""
    seen = json.loads(space.done(space.environment(ENVIRONMENTS[0]), "providers", "schema", "-json"))
    wanted = json.loads(SCHEMA.read_text())["provider_schemas"][SOURCE]
    seen = seen["provider_schemas"][SOURCE]
    assert plain(seen["provider"]) == plain(wanted["provider"]), "the provider's own configuration differs"
    for kind in ("resource_schemas", "data_source_schemas"):
        assert set(seen[kind]) == set(wanted[kind])
        for name, schema in wanted[kind].items():
            assert plain(seen[kind][name]) == plain(schema), f"{kind}: {name} differs"


def plain(value):
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()
                if name != "description_kind" and (name, inner) != ("attributes", {})}
    return value


def refused(space, edit):
    path, text, replacement, message = edit
    module, name = path.split("/")
    folder = space.module(module)
    source = (folder / name).read_text()
    assert source.count(text) == 1, f"{path} has {text!r} {source.count(text)} times; mend this test"
    with space.edited(folder, {name: source.replace(text, replacement)}):
        errors = space.errors(folder, "validate")
    assert any(message in error for error in errors), f"wanted: {message}\nsaid: " + "\n".join(errors)
    assert not space.errors(folder, "validate"), "the edit was not taken back"
