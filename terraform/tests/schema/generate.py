"""The schema of the google provider, for the resource types that our HCL uses, from the npm package that
package-lock.json pins. In the form of `terraform providers schema -json`, so that either can be held against the other.

usage: python3 generate.py [--check]      writes google-<version>.json beside this file, or compares with it

What the package cannot tell: whether an optional argument is also computed (taken as yes), defaults, allowed values,
conflicts, and what forces a replacement. See tests/README.md.
"""

import base64
import difflib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TERRAFORM = HERE.parent.parent
PACKAGE = "@cdktf/provider-google"
OURS = PACKAGE + "."
SOURCE = "registry.terraform.io/hashicorp/google"
# What every resource of CDKTF has of its own.
META = {"connection", "count", "dependsOn", "forEach", "lifecycle", "provider", "provisioners"}
PRIMITIVE = {"string": "string", "number": "number", "boolean": "bool"}


class Unavailable(Exception):
    """The package is neither in the cache nor to be had."""


def used(kind):
    """The types of a kind, resource or data, that our HCL uses."""
    used = re.compile(rf'^{kind} "(google_[a-z0-9_]+)"', re.MULTILINE)
    files = [path for path in TERRAFORM.rglob("*.tf") if ".terraform" not in path.parts]
    return sorted({name for path in files for name in used.findall(path.read_text())})


def lock():
    """Version and integrity of the package."""
    entry = json.loads((HERE / "package-lock.json").read_text())["packages"][f"node_modules/{PACKAGE}"]
    return entry["version"], entry["integrity"]


def archive():
    """The path of the package's archive: in the cache, or fetched once by npm. Its digest is that of the lock."""
    version, integrity = lock()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "meridian" / f"cdktf-provider-google-{version}"
    name = f"cdktf-provider-google-{version}.tgz"
    if not (folder / name).exists():
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable(f"{PACKAGE} {version} is not in the cache, and `npm` is not on PATH to fetch it")
        draft = folder / f"draft-{os.getpid()}"
        draft.mkdir(parents=True)
        print(f"schema: fetching {PACKAGE} {version} into the cache, once (32 MB)", file=sys.stderr, flush=True)
        try:
            done = subprocess.run(
                [npm, "pack", "--silent", "--ignore-scripts", f"{PACKAGE}@{version}"],
                cwd=draft, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                raise Unavailable(f"npm could not fetch {PACKAGE} {version}: {done.stderr.strip()[-300:]}")
            os.replace(draft / name, folder / name)
        finally:
            shutil.rmtree(draft)
    algorithm, _, wanted = integrity.partition("-")
    found = base64.b64encode(hashlib.new(algorithm, (folder / name).read_bytes()).digest()).decode()
    if found != wanted:
        raise SystemExit(f"schema: {folder / name} is not what package-lock.json names; remove it and run this again")
    return folder / name


def snake(name):
    return re.sub(r"([A-Z])", lambda letter: "_" + letter.group(1).lower(), name)


class Package:
    """The JSII description (types, what is optional) and the JavaScript (exact names, what is a set)."""

    def __init__(self, path):
        self.scripts = {}
        with tarfile.open(path) as package:
            for member in package:
                if member.name == "package/.jsii":
                    self.types = json.load(package.extractfile(member))["types"]
                elif member.name == "package/package.json":
                    self.provider_version = json.load(package.extractfile(member))["cdktf"]["provider"]["version"]
                elif re.fullmatch(r"package/lib/[^/]+/.*\.js", member.name):
                    folder = member.name.split("/")[2]
                    self.scripts.setdefault(folder, []).append(package.extractfile(member).read())

    def classes(self, base):
        """Resource type, or type of data source → name of its class."""
        found = {}
        for name, described in self.types.items():
            if described.get("base") == base:
                link = re.search(r" (google_[a-z0-9_]+)\}", described["docs"]["summary"])
                found[link.group(1)] = name
        return found


class Folder:
    """One resource's folder of the package, and the schema in it."""

    def __init__(self, package, class_name):
        self.types, self.class_name = package.types, class_name
        folder = self.types[class_name]["locationInModule"]["filename"].split("/")[1]
        script = b"\n".join(package.scripts[folder]).decode()
        # Property → argument, from what a getter reads.
        self.names = dict(re.findall(r"get (\w+)\(\) \{\s+return [^;]*?'([a-z0-9_]+)'", script))
        self.names.update({
            prop: name for prop, name in re.findall(r'this\._(\w+) = new [\w.]+\(this, "([a-z0-9_]+)"', script)})
        # (struct, argument) of every set; the struct of the resource's own arguments is the resource.
        self.sets = set()
        bodies = re.findall(
            r"(?:function (\w+)ToHclTerraform\(struct\)|(synthesizeHclAttributes)\(\)) \{(.*?)// remove undefined",
            script, re.DOTALL)
        for struct, _, body in bodies:
            for argument, kind in re.findall(
                    r'^ {8,12}(\w+): \{\n.*?isBlock: \w+,\n\s+type: "(\w+)"', body, re.DOTALL | re.MULTILINE):
                if kind == "set":
                    self.sets.add((struct.lower(), argument))

    def argument(self, prop):
        """The name as Terraform knows it: it stands after # in the link to the documentation."""
        link = re.search(r"#([a-z0-9_]+) [A-Z]", json.dumps(prop.get("docs", {})))
        return link.group(1) if link else self.names.get(prop["name"], snake(prop["name"]))

    def collection(self, struct, argument):
        return "set" if (struct, argument) in self.sets else "list"

    def resource(self):
        config = self.types[self.class_name + "Config"]
        block = self.block(config, "", self.class_name)
        block["attributes"].setdefault("id", {"type": "string", "optional": True, "computed": True})
        return block

    def block(self, struct, key, reader):
        """The block of `struct`; `key` is its name among the sets, `reader` the class that reads it back."""
        attributes, blocks = {}, {}
        for prop in struct.get("properties", []):
            if not key and prop["name"] in META:
                continue
            name, required = self.argument(prop), not prop.get("optional")
            inner, many = self.nested(prop["type"])
            if inner and "block." in prop.get("docs", {}).get("summary", ""):
                blocks[name] = self.nested_block(name, inner, many, required, self.collection(key, name))
            else:
                attributes[name] = {"type": self.written(prop["type"], self.collection(key, name))}
                attributes[name].update({"required": True} if required else {"optional": True, "computed": True})
        known = {prop["name"] for prop in struct.get("properties", [])}
        for name, kind in self.computed(reader, known):
            if name not in attributes and name not in blocks:
                attributes[name] = {"type": kind, "computed": True}
        out = {"attributes": attributes}
        if blocks:
            out["block_types"] = blocks
        return out

    def nested_block(self, name, inner, many, required, collection):
        key = self.types[inner]["name"].lower()
        out = {"nesting_mode": collection, "block": self.block(self.types[inner], key, inner + "OutputReference")}
        if name == "timeouts":
            for attribute in out["block"]["attributes"].values():
                del attribute["computed"]  # Terraform keeps them, the provider never fills them in
            return {**out, "nesting_mode": "single"}
        if required:
            out["min_items"] = 1
        if not many:
            out["max_items"] = 1
        return out

    def nested(self, kind):
        """(struct, whether there may be many) where the type is a struct of the package."""
        for option in kind.get("union", {}).get("types", [kind]):
            many = option.get("collection", {}).get("kind") == "array"
            name = (option["collection"]["elementtype"] if many else option).get("fqn", "")
            if name.startswith(OURS):
                return name, many
        return None, False

    def written(self, kind, collection):
        """The type of an argument, in the JSON form of Terraform's type constraints."""
        if "union" in kind:
            options = kind["union"]["types"]
            best = [o for o in options if "collection" in o or "primitive" in o or o.get("fqn", "").startswith(OURS)]
            return self.written(best[0], collection)
        if "primitive" in kind:
            return PRIMITIVE[kind["primitive"]]
        if "collection" in kind:
            of = kind["collection"]
            inner = self.written(of["elementtype"], "list")
            return ["map" if of["kind"] == "map" else collection, inner]
        if kind["fqn"].startswith(OURS):
            struct = self.types[kind["fqn"]]
            return ["object", {self.argument(p): self.written(p["type"], "list") for p in struct.get("properties", [])}]
        return ["map", "string"]

    def computed(self, reader, known):
        """What only the provider sets: what can be read and is no argument."""
        for prop in self.types.get(reader, {}).get("properties", []):
            name = prop["name"]
            if prop.get("static") or not prop.get("immutable") or name.endswith("Input") or name in known:
                continue
            if name not in self.names:
                continue
            yield self.names[name], self.read(prop["type"])

    def read(self, kind):
        """The type of what is read back."""
        if "primitive" in kind:
            return PRIMITIVE[kind["primitive"]]
        if "collection" in kind:
            return ["list", self.read(kind["collection"]["elementtype"])]
        name = kind["fqn"]
        if name == "cdktf.IResolvable":
            return "bool"  # the only primitive that JSII describes so
        if name.startswith("cdktf."):
            element = re.match(r"cdktf\.(Any|String|Number|Boolean)Map", name)[1]
            inner = ["map", {"Number": "number", "Boolean": "bool"}.get(element, "string")]
            return ["list", inner] if name.endswith("List") else inner
        element = name.removesuffix("List") + "OutputReference" if name.endswith("List") else name
        return ["list", ["object", dict(self.computed(element, set()))]]


def schema():
    package = Package(archive())
    blocks = {}
    for kind, base in (("resource", "cdktf.TerraformResource"), ("data", "cdktf.TerraformDataSource")):
        classes, wanted = package.classes(base), used(kind)
        missing = [name for name in wanted if name not in classes]
        if missing:
            raise SystemExit(f"schema: {PACKAGE} {lock()[0]} has no {kind} {', '.join(missing)}")
        blocks[kind] = {name: {"version": 0, "block": Folder(package, classes[name]).resource()} for name in wanted}
    provider = Folder(package, OURS + "provider.GoogleProvider").resource()
    del provider["attributes"]["id"], provider["attributes"]["alias"]
    for attribute in provider["attributes"].values():
        attribute.pop("computed", None)  # a provider's own configuration is never computed
    return package.provider_version, {
        "format_version": "1.0",
        "provider_schemas": {SOURCE: {
            "provider": {"version": 0, "block": provider},
            "resource_schemas": blocks["resource"],
            "data_source_schemas": blocks["data"],
        }},
    }


def text(value, depth=0):
    """JSON with a line for each attribute, so that a change reads well."""
    leaf = not isinstance(value, dict) or not any(isinstance(inner, dict) for inner in value.values())
    if leaf:
        return json.dumps(value, sort_keys=True)
    pad = " " * (depth + 1)
    lines = [f"{pad}{json.dumps(key)}: {text(value[key], depth + 1)}" for key in sorted(value)]
    return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"


def main():
    version, made = schema()
    path = HERE / f"google-{version}.json"
    new = text(made) + "\n"
    if "--check" in sys.argv[1:]:
        old = path.read_text() if path.exists() else ""
        if old != new:
            sys.stdout.writelines(list(difflib.unified_diff(
                old.splitlines(True), new.splitlines(True), path.name, "generated"))[:60])
            raise SystemExit(f"schema: {path.name} is not what {Path(__file__).name} makes; run it without --check")
        return
    path.write_text(new)
    served = made["provider_schemas"][SOURCE]
    print(f"schema: wrote {path.name}: {len(served['resource_schemas'])} types of resources, "
          f"{len(served['data_source_schemas'])} of data sources")


if __name__ == "__main__":
    try:
        main()
    except Unavailable as error:
        print(f"schema: {error}", file=sys.stderr)
        raise SystemExit(75)  # EX_TEMPFAIL: nothing was found wrong, nothing was compared
