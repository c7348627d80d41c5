# What a value must look like. Patterns are held against the value as JSON, so
# that a number in quotes is no number. `regions validate` has the same shapes.

locals {
  name = "[a-z]([a-z0-9-]{0,38}[a-z0-9])?"

  shapes = {
    boolean = {
      pattern = "^(true|false)$"
      words   = "true or false"
    }
    count_from_0 = {
      pattern = "^(0|[1-9][0-9]{0,2}|1000)$"
      words   = "a whole number from 0 to 1000"
    }
    count_from_1 = {
      pattern = "^([1-9][0-9]{0,2}|1000)$"
      words   = "a whole number from 1 to 1000"
    }
    domain = {
      pattern = "^\"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?\"$"
      words   = "a DNS name in small letters with a dot in it, such as qa.example.com"
    }
    location = {
      pattern = "^\"[a-z]+(-[a-z]+)+[0-9]+\"$"
      words   = "a Google region, such as europe-west4"
    }
    machine = {
      pattern = "^\"[a-z][a-z0-9]*(-[a-z0-9]+)+\"$"
      words   = "a Google machine type, such as e2-standard-4"
    }
    project = {
      pattern = "^\"[a-z][a-z0-9-]{4,28}[a-z0-9]\"$"
      words   = "the id of a Google project: 6 to 30 small letters, digits and hyphens, a letter first, no hyphen at the end"
    }
    range = {
      pattern = "^\"((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])/1[2-6]\"$"
      words   = "a private IPv4 range with a prefix of /12 to /16, such as 10.4.0.0/14"
    }
    wave = {
      pattern = "^\"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\"$"
      words   = "a name of small letters, digits and hyphens, at most 40, no hyphen at either end"
    }
    waves = {
      pattern = "^\\[(\"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\",?)+\\]$"
      words   = "a list of one or more names of small letters, digits and hyphens"
    }
    zones = {
      pattern = "^\\[(\"[a-z]\",?)+\\]$"
      words   = "a list of one or more letters of zones, such as [a, b, c]"
    }
  }

  name_words = "a name: a small letter, then small letters, digits and hyphens, at most 40, no hyphen at the end"

  environment_keys = {
    required = [
      "bake", "ceilings", "domain", "gates", "order", "project", "secrets",
      "waves", "workload",
    ]
    optional = ["approle", "defaults", "freezes", "pipeline"]
  }
  region_keys = {
    required = ["location", "range", "wave"]
    optional = ["geo", "kubernetes", "pools", "vault", "watcher", "zones"]
  }
  pool_keys = {
    required = ["machine", "max", "min"]
    optional = ["spot"]
  }
}
