"""Changes to nested values, made by a program: a test that no change disturbs does not look."""

import copy


def leaves(value, path=()):
    """Paths of all leaves; an empty map or list is one."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [leaf for key, child in children for leaf in leaves(child, (*path, key))]
    return found or [path]


def inner(value):
    """Paths of everything in a value: leaves, maps and lists."""
    return sorted({path[:length] for path in leaves(value) for length in range(1, len(path) + 1)}, key=str)


def at(value, path):
    """What stands at a path."""
    for key in path:
        value = value[key]
    return value


def along(value, path, change):
    """A copy of what a path leads through, and the rest as it is; `change` is done to the last map or list of it."""
    copied = copy.copy(value)
    if len(path) == 1:
        change(copied, path[0])
    else:
        copied[path[0]] = along(value[path[0]], path[1:], change)
    return copied


def replaced(value, path, new):
    """A copy in which something else stands at a path."""
    return along(value, path, lambda parent, key: parent.__setitem__(key, new))


def removed(value, path):
    """A copy without what stands at a path."""
    return along(value, path, lambda parent, key: parent.__delitem__(key))


def other(leaf):
    """Another value of the same kind."""
    if isinstance(leaf, bool):
        return not leaf
    if isinstance(leaf, (int, float)):
        return leaf + 1
    if isinstance(leaf, str):
        return leaf + "x"
    return {"mutant": "x"} if leaf == {} else ["mutant"] if leaf == [] else "mutant"


def dotted(path):
    """A path as people write it."""
    return ".".join(map(str, path))
