"""Changed manifests, made by a program."""

from mutate import at, dotted, inner, leaves, other, removed, replaced


def manifest_mutants(objects, kinds=None):
    """(name, objects) for each leaf changed, each key and item removed, and each object left out or doubled; of these
    kinds alone where some are given."""
    for index, one in enumerate(objects):
        if kinds and one["kind"] not in kinds:
            continue
        title = f"{one['kind']} {one['metadata']['name']}"
        yield f"{title}: left out", objects[:index] + objects[index + 1:]
        yield f"{title}: twice", objects + [one]
        for path in leaves(one):
            yield f"{title}: {dotted(path)} changed", replaced(objects, (index, *path), other(at(one, path)))
        for path in inner(one):
            yield f"{title}: {dotted(path)} removed", removed(objects, (index, *path))
