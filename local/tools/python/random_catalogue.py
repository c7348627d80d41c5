"""A catalogue that nobody wrote: one environment with random regions, each as its types allow, from a seed. SEED in the
environment replays one."""

import os
import random
import string
import uuid

SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**9))
ENVIRONMENT = "random"
SECRETS = ["config: { kind: value }", "tls: { kind: value }", "clients: { kind: clients, generator: random }",
           "signing-keys: { kind: keyset, generator: ec-p256 }"]
SMALL, DIGITS = string.ascii_lowercase, string.digits


def write(folder, count, schemas="../../schema"):
    """Writes `folder`/random with its environment and `count` regions of at most 12 lines; gives the regions' names."""
    chance = random.Random(SEED)
    place = folder / ENVIRONMENT
    place.mkdir(parents=True)
    waves = sorted({name(chance, 12) for _ in range(chance.randint(1, min(3, count)))})
    (place / "_environment.yaml").write_text(environment(chance, waves, schemas))
    names, locations = set(), set()
    while len(names) < count:
        # `meridian-production-` and it name a cluster, which may have 40 characters.
        names.add(name(chance, 20))
        locations.add(f"{word(chance)}-{word(chance)}{len(locations) + 1}")
    ranges = apart(chance, count)
    for number, (region, location) in enumerate(zip(sorted(names), sorted(locations))):
        # Every wave has a region.
        wave = waves[number] if number < len(waves) else chance.choice(waves)
        text = described(chance, location, wave, ranges[number], schemas)
        assert text.count("\n") <= 12, text
        (place / f"{region}.yaml").write_text(text)
    return sorted(names)


def environment(chance, waves, schemas):
    life = chance.randint(3, 86400)
    least = chance.randint(2, 10)
    more = [f"{name(chance, 30)}: {{ kind: value, generator: {chance.choice(['random', 'password'])} }}" for _ in range(chance.randint(0, 2))]
    return "\n".join([
        f"# yaml-language-server: $schema={schemas}/environment.schema.json",
        # Of a checkout, qa and staging stay beside it, as 1 and 2.
        f"order: {chance.randint(3, 1000)}",
        f"project: {chance.choice(SMALL)}{text(chance, SMALL + DIGITS + '-', 4, 20)}{chance.choice(SMALL)}",
        f"domain: {name(chance, 20)}.{word(chance)}",
        f"waves: [{', '.join(waves)}]",
        f"bake: {{ time: {chance.randint(1, 24)}h, samples: {chance.randint(1, 10**9)} }}",
        f"gates: {{ error_ratio: 0.{chance.randint(1, 999):03}, latency_p99: {chance.choice([1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500])}ms"
        f"{chance.choice(['', f', client_error_shift: 0.{chance.randint(1, 999):03}'])} }}",
        f"ceilings: {{ token_life: {life}s, jwks_max_age: {chance.randint(1, life)}s, "
        f"leeway: {chance.randint(1, min(300, life - 1))}s, skew: {chance.randint(1, min(300, life - 1))}s }}",
        "secrets:", *(f"  {secret}" for secret in SECRETS + more),
        f"workload: {{ min: {least}, max: {chance.randint(least, 10)}, cpu: {chance.randint(1, 100)} }}",
        *logins(chance),
        "defaults:", "  pools:", *(f"    {pool}" for pool in pools(chance)), ""])


def logins(chance):
    """Who logs in to Vault and is no pod, and when nothing is promoted."""
    lines = []
    if chance.random() < 0.3:
        years = sorted(chance.sample(range(2026, 2099), 2))
        moments = [f"'{year}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}T{chance.randint(0, 23):02}:00:00Z'" for year in years]
        lines += ["freezes:", f"  - {{ from: {moments[0]}, until: {moments[1]}, why: {word(chance)} }}"]
    if chance.random() < 0.5:
        who = chance.sample(["service", "watcher", "promoter", "rotator"], chance.randint(1, 4))
        lines.append(f"approle: [{', '.join(who)}]")
    if chance.random() < 0.5:
        contexts = [f"promoter: {identifier(chance)}", f"rotator: {identifier(chance)}"][:chance.randint(1, 2)]
        lines += ["pipeline:", f"  organisation: {identifier(chance)}", f"  project: {identifier(chance)}",
                  f"  contexts: {{ {', '.join(contexts)} }}"]
        if chance.random() < 0.3:
            lines.append(f"  issuer: https://{name(chance, 10)}.{word(chance)}/org/{chance.randint(1, 99)}")
    if chance.random() < 0.3:
        keys = ["".join(chance.choices(string.ascii_letters + string.digits + "+/", k=86)) for _ in range(chance.randint(1, 2))]
        lines += ["signers:", *[f"  - MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE{key}==" for key in keys]]
    return lines


def described(chance, location, wave, cidr, schemas):
    lines = [f"location: {location}", f"wave: {wave}", f"range: {cidr}"]
    if chance.random() < 0.4:
        lines.append(f"zones: [{', '.join(chance.sample('abcdefz', chance.randint(1, 4)))}]")
    if chance.random() < 0.3:
        lines.append(f"kubernetes: {{ context: {text(chance, string.ascii_letters + DIGITS + '_@:/.-', 4, 30).join('aZ')} }}")
    if chance.random() < 0.4:
        host = chance.choice([f"{name(chance, 10)}.{word(chance)}", f"10.{chance.randint(0, 255)}.0.{chance.randint(1, 254)}"])
        inside = ", in_cluster: false"
        if chance.random() < 0.3:
            host, inside = f"{name(chance, 10)}.{name(chance, 10)}.svc", ", port_forward: true"
        inside = chance.choice(["", inside])
        lines.append(f"vault: {{ address: https://{host}{chance.choice(['', f':{chance.randint(1, 65535)}'])}{inside} }}")
    if chance.random() < 0.3:
        lines.append(f"watcher: {{ address: {chance.choice(['http', 'https'])}://{name(chance, 10)}:{chance.randint(1, 65535)} }}")
    if chance.random() < 0.5:
        lines.append(f"monitoring: {chance.choice(['none', 'google', 'operator'])}")
    if chance.random() < 0.4:
        lines += ["pools:", *(f"  {pool}" for pool in pools(chance)[:2])]
    chance.shuffle(blocks := merged(lines))
    return "\n".join([f"# yaml-language-server: $schema={schemas}/region.schema.json", *blocks, ""])


def merged(lines):
    """Lines with those that are set in joined to the one before."""
    blocks = []
    for line in lines:
        if line.startswith(" "):
            blocks[-1] += "\n" + line
        else:
            blocks.append(line)
    return blocks


def pools(chance):
    """At least one that is not spot and may hold two nodes, and it first."""
    found = {}
    for number in range(chance.randint(1, 3)):
        least, spot = chance.randint(0, 1000), number > 0 and chance.random() < 0.7
        most = chance.randint(max(least, 2), 1000)
        kind = "" if not spot and chance.random() < 0.5 else f", spot: {str(spot).lower()}"
        found[name(chance, 30)] = f"{{ machine: {word(chance)}{chance.randint(1, 4)}-{word(chance)}-{chance.randint(1, 96)}, min: {least}, max: {most}{kind} }}"
    return [f"{key}: {value}" for key, value in found.items()]


def apart(chance, count):
    """Private ranges of /12 to /16 that share nothing."""
    blocks = [("10", 0, 16 * number) for number in range(16)] + [("172", 16, 16)]
    chance.shuffle(blocks)
    found = []
    for first, _, second in blocks[:count]:
        prefix = chance.randint(12, 16)
        steps = 2 ** (prefix - 12)
        found.append(f"{first}.{second + chance.randrange(steps) * (16 // steps)}.0.0/{prefix}")
    assert len(found) == count, f"at most {len(blocks)} regions"
    return found


def name(chance, longest):
    """A name that no reader of YAML takes for anything else."""
    while True:
        made = chance.choice(SMALL) + text(chance, SMALL + DIGITS + "-", 1, longest - 2) + chance.choice(SMALL)
        if made not in ("yes", "no", "on", "off", "true", "false", "null"):
            return made


def identifier(chance):
    return str(uuid.UUID(int=chance.getrandbits(128)))


def word(chance):
    return name(chance, 8).replace("-", "").translate(str.maketrans(DIGITS, SMALL[:10]))


def text(chance, letters, least, most):
    return "".join(chance.choice(letters) for _ in range(chance.randint(least, most)))
