"""The images as they stand in target/images: OCI layouts."""

import hashlib
import io
import json
import tarfile

from rendering import ROOT

FOLDER = ROOT / "target" / "images"


def blob(name, digest):
    """The bytes of a digest, which they must have."""
    content = (FOLDER / name / "blobs" / digest.replace(":", "/")).read_bytes()
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest, f"{name}: {digest} is something else"
    return content


def read(name):
    """(digest, manifest, configuration) of an image."""
    index = json.loads((FOLDER / name / "index.json").read_text())
    (entry,) = index["manifests"]
    manifest = json.loads(blob(name, entry["digest"]))
    return entry["digest"], manifest, json.loads(blob(name, manifest["config"]["digest"]))


def holds_one_static_binary(name):
    """Nothing but the program, run by nobody in particular."""
    _, manifest, image = read(name)
    (layer,) = manifest["layers"]
    with tarfile.open(fileobj=io.BytesIO(blob(name, layer["digest"]))) as archive:
        files = {member.name.lstrip("./"): member for member in archive if member.isfile()}
        assert list(files) == [name], f"expected one file, found {sorted(files)}"
        header = archive.extractfile(files[name]).read()
    assert header[:4] == b"\x7fELF" and b"/lib64/ld-linux" not in header, "it asks for a loader"
    assert files[name].mode & 0o111 == 0o111 and not files[name].mode & 0o7022, oct(files[name].mode)
    config = image["config"]
    assert config["User"] == "65532:65532", config["User"]
    assert config["Entrypoint"] == [f"/{name}"] and not config.get("Cmd"), config
    assert config.get("Env", []) in ([], ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
    assert (image["os"], image["architecture"]) == ("linux", "amd64")


def is_labelled(name):
    """The labels that the OCI names, and no other."""
    _, _, image = read(name)
    labels = image["config"]["Labels"]
    prefix = "org.opencontainers.image."
    wanted = {"title", "description", "licenses", "version", "revision"}
    assert {key.removeprefix(prefix) for key in labels} == wanted, labels
    assert labels[prefix + "title"] == name and labels[prefix + "licenses"] == "Apache-2.0"
    assert labels[prefix + "version"] != "0.0.0" and labels[prefix + "revision"] != "unknown", labels


def is_small(name, most):
    """Bytes to pull."""
    _, manifest, _ = read(name)
    size = sum(layer["size"] for layer in manifest["layers"])
    assert size <= most, f"{size} bytes to pull, more than {most}"


def hides_paths(name):
    """No path of the machine that built it, which would also make it another one elsewhere."""
    _, manifest, _ = read(name)
    with tarfile.open(fileobj=io.BytesIO(blob(name, manifest["layers"][0]["digest"]))) as archive:
        content = archive.extractfile(next(m for m in archive if m.isfile())).read()
    for path in (str(ROOT), "/.cargo/registry"):
        assert path.encode() not in content, f"the binary names {path}"
