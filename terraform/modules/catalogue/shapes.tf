# What a value must look like. Patterns are held against the value as JSON, so
# that a number in quotes is no number. `regions validate` has the same shapes
# and says the same words.

locals {
  name       = "[a-z]([a-z0-9-]{0,38}[a-z0-9])?"
  name_words = "a name: a small letter, then small letters, digits and hyphens, at most 40, no hyphen at the end"
  host       = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
  port       = "(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"

  # kind is what is expected: text, number, boolean, list, map, or anything.
  shapes = {
    anything = {
      kind    = "anything"
      pattern = "^"
      words   = "anything"
    }
    boolean = {
      kind    = "boolean"
      pattern = "^(true|false)$"
      words   = "true or false"
    }
    order = {
      kind    = "number"
      pattern = "^([1-9][0-9]{0,2}|1000)$"
      words   = "a whole number from 1 to 1000"
    }
    least = {
      kind    = "number"
      pattern = "^(0|[1-9][0-9]{0,2}|1000)$"
      words   = "a whole number from 0 to 1000"
    }
    most = {
      kind    = "number"
      pattern = "^([1-9][0-9]{0,2}|1000)$"
      words   = "a whole number from 1 to 1000"
    }
    domain = {
      kind    = "text"
      pattern = "^\"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?\"$"
      longest = 200
      words   = "a DNS name in small letters with a dot in it, such as qa.example.com, at most 200 characters"
    }
    location = {
      kind    = "text"
      pattern = "^\"[a-z]+(-[a-z]+)+[0-9]+\"$"
      longest = 40
      words   = "a Google region, such as europe-west4"
    }
    machine = {
      kind    = "text"
      pattern = "^\"[a-z][a-z0-9]*(-[a-z0-9]+)+\"$"
      longest = 63
      words   = "a Google machine type, such as e2-standard-4"
    }
    project = {
      kind    = "text"
      pattern = "^\"[a-z][a-z0-9-]{4,28}[a-z0-9]\"$"
      words   = "the id of a Google project: 6 to 30 small letters, digits and hyphens, a letter first, no hyphen at the end"
    }
    range = {
      kind    = "text"
      pattern = "^\"((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])/1[2-6]\"$"
      words   = "a private IPv4 range with a prefix of /12 to /16, such as 10.4.0.0/14"
    }
    wave = {
      kind    = "text"
      pattern = "^\"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\"$"
      words   = "a name of small letters, digits and hyphens, at most 40, no hyphen at either end"
    }
    waves = {
      kind    = "list"
      pattern = "^\\[[^\\]]"
      words   = "a list of one or more, each a name of small letters, digits and hyphens, at most 40, no hyphen at either end"
    }
    zone = {
      kind    = "text"
      pattern = "^\"[a-z]\"$"
      words   = "the letter of a zone, such as b"
    }
    zones = {
      kind    = "list"
      pattern = "^\\[[^\\]]"
      words   = "a list of one or more, each the letter of a zone, such as b"
    }
    uuid = {
      kind    = "text"
      pattern = "^\"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\"$"
      words   = "an id such as 9f3c2a1e-0b4d-4c5e-8f6a-7b8c9d0e1f2a, in small letters"
    }
    issuer = {
      kind    = "text"
      pattern = "^\"(https://${local.host}${local.port}|http://(localhost|127\\.0\\.0\\.1)(:[1-9][0-9]{0,4})?)(/[A-Za-z0-9._~-]+)*\"$"
      longest = 300
      words   = "an issuer such as https://oidc.example.com/org/1, or http:// on localhost"
    }
    address = {
      kind    = "text"
      pattern = "^\"https://${local.host}${local.port}\"$"
      longest = 300
      words   = "an address such as https://vault.example.com:8200, without a path"
    }
    # Maps whose keys are looked at, if at all, as maps of their own.
    names    = { kind = "map", pattern = "^\\{", words = "a map of one or more names" }
    pools    = { kind = "map", pattern = "^\\{\"", words = "a map of one or more names" }
    pool     = { kind = "map", pattern = "^\\{", words = "a map with the keys machine, max, min, spot" }
    vault    = { kind = "map", pattern = "^\\{", words = "a map with the keys address, in_cluster, port_forward" }
    pipeline = { kind = "map", pattern = "^\\{", words = "a map with the keys contexts, issuer, organisation, project" }
    contexts = { kind = "map", pattern = "^\\{", words = "a map with the keys promoter, rotator" }
    defaults = { kind = "map", pattern = "^\\{", words = "a map with the keys geo, kubernetes, monitoring, pools, vault, watcher, zones" }
    bake     = { kind = "map", pattern = "^\\{", words = "a map with the keys samples, time" }
    gates    = { kind = "map", pattern = "^\\{", words = "a map with the keys client_error_shift, error_ratio, latency_p99" }
    ceilings = { kind = "map", pattern = "^\\{", words = "a map with the keys jwks_max_age, leeway, skew, token_life" }
    workload = { kind = "map", pattern = "^\\{", words = "a map with the keys cpu, max, min" }
  }

  # The keys of each map: its shape, and whether it must be there.
  tables = {
    environment = {
      required = ["bake", "ceilings", "domain", "gates", "order", "project", "secrets", "waves", "workload"]
      shapes = {
        approle  = "anything", bake = "bake", ceilings = "ceilings"
        defaults = "defaults", domain = "domain", freezes = "anything"
        gates    = "gates", order = "order", pipeline = "pipeline"
        project  = "project", secrets = "names", signers = "anything"
        waves    = "waves", workload = "workload"
      }
    }
    defaults = {
      required = []
      shapes = {
        geo        = "location", kubernetes = "anything"
        monitoring = "anything", pools = "pools"
        vault      = "vault", watcher = "anything", zones = "zones"
      }
    }
    region = {
      required = ["location", "range", "wave"]
      shapes = {
        geo      = "location", kubernetes = "anything"
        location = "location", monitoring = "anything"
        pools    = "pools", range = "range", vault = "vault"
        watcher  = "anything", wave = "wave", zones = "zones"
      }
    }
    pool = {
      required = ["machine", "max", "min"]
      shapes   = { machine = "machine", max = "most", min = "least", spot = "boolean" }
    }
    vault = {
      required = ["address"]
      shapes   = { address = "address", in_cluster = "boolean", port_forward = "boolean" }
    }
    pipeline = {
      required = ["contexts", "organisation", "project"]
      shapes   = { contexts = "contexts", issuer = "issuer", organisation = "uuid", project = "uuid" }
    }
    contexts = {
      required = ["promoter"]
      shapes   = { promoter = "uuid", rotator = "uuid" }
    }
  }
}
