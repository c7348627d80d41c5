"""Changes to manifests and values, made by a program: what no check notices is no check's concern."""

import copy


def leaves(value, path=()):
    """Paths of all leaves; an empty map or list is one."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [leaf for key, child in children for leaf in leaves(child, (*path, key))]
    return found or [path]


def at(value, path):
    """What stands at a path."""
    for key in path:
        value = value[key]
    return value


def other(leaf):
    """Another value of the same kind."""
    if isinstance(leaf, bool):
        return not leaf
    if isinstance(leaf, (int, float)):
        return leaf + 1
    if isinstance(leaf, str):
        return leaf + "x"
    return {"mutant": "x"} if leaf == {} else ["mutant"] if leaf == [] else "mutant"


def manifest_mutants(objects):
    """(name, objects) for each leaf changed, each key and item removed, and each object left out or doubled."""
    for index, one in enumerate(objects):
        title = f"{one['kind']} {one['metadata']['name']}"
        yield f"{title}: left out", objects[:index] + objects[index + 1:]
        yield f"{title}: twice", objects + [one]
        for path in leaves(one):
            where = ".".join(map(str, path))
            mutant = copy.deepcopy(objects)
            at(mutant[index], path[:-1])[path[-1]] = other(at(one, path))
            yield f"{title}: {where} changed", mutant
        inner = {path[:length] for path in leaves(one) for length in range(1, len(path) + 1)}
        for path in sorted(inner, key=str):
            mutant = copy.deepcopy(objects)
            del at(mutant[index], path[:-1])[path[-1]]
            yield f"{title}: {'.'.join(map(str, path))} removed", mutant
