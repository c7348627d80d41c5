# What can be wrong with a region beyond the shapes of its values: its name,
# and what its values are to each other.

locals {
  names_problems = concat(
    [
      for file in local.region_files :
      { file = file, key = "", found = "the name `${trimsuffix(file, ".yaml")}`", allowed = local.name_words }
      if !can(regex("^${local.name}$", trimsuffix(file, ".yaml")))
    ],
    flatten([
      for file, names in local.names : [
        for what, derived in {
          "its cluster"                      = { name = names.cluster, most = 40 }
          "the service account of its nodes" = { name = names.account, most = 30 }
          } : {
          file    = file
          key     = ""
          found   = "a name that makes `${derived.name}` (${length(derived.name)} characters) of ${what}"
          allowed = "at most ${derived.most} characters there"
        }
        if length(derived.name) > derived.most
      ]
      if can(regex("^${local.name}$", names.region))
    ]),
  )

  # Where a region's pools and its Vault stand: in its own file, or in the
  # defaults.
  places = {
    for file, said in local.said : file => {
      for key in ["pools", "vault"] : key => {
        file = contains(keys(said), key) ? file : local.own_file
        path = contains(keys(said), key) ? key : "defaults.${key}"
      }
    }
  }

  # A range as it is written, where it is one.
  ranges = {
    for file, region in local.regions : file => region.range
    if can(regex(local.shapes.range.pattern, jsonencode(region.range)))
  }
  # Pools of which every one is sound.
  pools = {
    for file, region in local.regions : file => region.pools
    if can(keys(region.pools)) && try(length(region.pools) > 0, false) && try(alltrue([
      for pool in region.pools : alltrue([
        for key, shape in local.tables.pool.shapes :
        can(regex(local.shapes[shape].pattern, jsonencode(pool[key])))
        || (key == "spot" && !contains(keys(pool), key))
      ])
    ]), false)
  }

  region_problems = concat(
    [
      for file, region in local.regions :
      { file = file, key = "wave", found = "`${region.wave}`", allowed = join(", ", local.own.waves) }
      if can(regex(local.shapes.wave.pattern, jsonencode(region.wave)))
      && try(length(local.own.waves) > 0 && !contains(local.own.waves, region.wave), false)
    ],
    [
      for file, range in local.ranges : {
        file    = file
        key     = "range"
        found   = "`${range}`, which is an address inside of ${cidrsubnet(range, 0, 0)}"
        allowed = "a range whose host bits are zero"
      }
      if cidrsubnet(range, 0, 0) != range
    ],
    [
      for file, range in local.ranges : {
        file    = file
        key     = "range"
        found   = "`${range}`, which is not private"
        allowed = "a range inside of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16"
      }
      if cidrsubnet(range, 0, 0) == range
      && !can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.0\\.0/16$)", range))
    ],
    [
      for file, region in local.regions :
      { file = file, key = "pools", found = "nothing", allowed = "a map of one or more names" }
      if !contains(keys(region), "pools")
    ],
    flatten([
      for file, pools in local.pools : [
        for name, pool in pools : {
          file    = local.places[file].pools.file
          key     = "${local.places[file].pools.path}.${name}.min"
          found   = "the number `${pool.min}`"
          allowed = "a whole number from 0 to max, which is ${pool.max}"
        }
        if pool.min > pool.max
      ]
    ]),
    [
      for file, pools in local.pools : {
        file    = local.places[file].pools.file
        key     = local.places[file].pools.path
        found   = length(local.lasting[file]) == 0 ? "spot pools alone" : "pools that are not spot with ${sum(local.lasting[file])} node at most"
        allowed = "pools that are not spot with 2 nodes or more (max) in all"
      }
      if sum(concat([0], local.lasting[file])) < 2
    ],
    [
      for file, pools in local.pools : {
        file    = local.places[file].pools.file
        key     = "${local.places[file].pools.path}.vault"
        found   = "the name `vault`"
        allowed = "another name: the pool of the region's Vault has this one"
      }
      if contains(keys(pools), "vault")
    ],
    # What is reached by a port-forward is a Service of the cluster.
    [
      for file, vault in local.vaults : {
        file    = local.places[file].vault.file
        key     = "${local.places[file].vault.path}.port_forward"
        found   = "`true`"
        allowed = "false for a Vault that is not in the region's cluster (in_cluster)"
      }
      if vault.port_forward && !vault.in_cluster
    ],
    [
      for file, vault in local.vaults : {
        file    = local.places[file].vault.file
        key     = "${local.places[file].vault.path}.address"
        found   = "`${vault.address}`"
        allowed = "with port_forward the name of a Service, such as https://vault-active.vault.svc:8200"
      }
      if vault.port_forward && vault.in_cluster && vault.service == null
    ],
  )

  # The most nodes of each pool that is not spot.
  lasting = {
    for file, pools in local.pools : file => [
      for pool in pools : pool.max if !try(pool.spot, false)
    ]
  }
}
