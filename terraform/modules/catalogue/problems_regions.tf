# What can be wrong with a region: its name, its keys, its pools, and what it
# must not share with the others.

locals {
  names_problems = concat(
    [
      for file in local.region_files : {
        file    = file
        key     = ""
        found   = "the name `${trimsuffix(file, ".yaml")}`"
        allowed = local.name_words
      }
      if !can(regex("^${local.name}$", trimsuffix(file, ".yaml")))
    ],
    [
      for file, names in local.names : {
        file    = file
        key     = ""
        found   = "a name that makes `${names.cluster}` (${length(names.cluster)} characters) of its cluster"
        allowed = "at most 40 characters there"
      }
      if length(names.cluster) > 40
    ],
    [
      for file, names in local.names : {
        file    = file
        key     = ""
        found   = "a name that makes `${names.account}` (${length(names.account)} characters) of the service account of its nodes"
        allowed = "at most 30 characters there"
      }
      if length(names.account) > 30
    ],
  )

  # Regions whose file can be read, each with what it and the defaults say.
  readable = {
    for file, region in local.regions : file => region
    if !contains(keys(local.unreadable), file)
  }

  region_problems = flatten([
    for file, region in local.readable : concat(
      [
        for key in setsubtract(keys(local.said[file]), concat(local.region_keys.required, local.region_keys.optional)) :
        { file = file, key = key, found = "an unknown key", allowed = join(", ", sort(concat(local.region_keys.required, local.region_keys.optional))) }
      ],
      [
        for key, shape in {
          location = "location", wave = "wave", range = "range", geo = "location", zones = "zones"
          } : {
          file    = contains(keys(local.said[file]), key) || contains(local.region_keys.required, key) ? file : local.own_file
          key     = contains(keys(local.said[file]), key) || contains(local.region_keys.required, key) ? key : "defaults.${key}"
          found   = try("`${jsonencode(region[key])}`", "nothing")
          allowed = local.shapes[shape].words
        }
        if !can(regex(local.shapes[shape].pattern, jsonencode(region[key])))
        && (contains(local.region_keys.required, key) || contains(keys(region), key))
      ],
      [
        for wave in try([tostring(region.wave)], []) : {
          file    = file
          key     = "wave"
          found   = "`${wave}`"
          allowed = join(", ", local.own.waves)
        }
        if try(length(local.own.waves) > 0 && !contains(local.own.waves, wave), false)
      ],
      [
        for range in try([tostring(region.range)], []) : {
          file    = file
          key     = "range"
          found   = "`${range}`, which is an address inside of ${cidrsubnet(range, 0, 0)}"
          allowed = "a range whose host bits are zero"
        }
        if try(cidrsubnet(range, 0, 0) != range, false)
        && can(regex(local.shapes.range.pattern, jsonencode(range)))
      ],
      [
        for range in try([tostring(region.range)], []) : {
          file    = file
          key     = "range"
          found   = "`${range}`, which is not private"
          allowed = "a range inside of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16"
        }
        if try(cidrsubnet(range, 0, 0) == range, false)
        && can(regex(local.shapes.range.pattern, jsonencode(range)))
        && !can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.0\\.0/16$)", range))
      ],
      [
        for zones in try([tolist(region.zones)], []) : {
          file    = file
          key     = "zones"
          found   = "`${jsonencode(zones)}`, with a zone twice"
          allowed = "each zone once"
        }
        if length(distinct(zones)) != length(zones)
      ],
    )
  ])

  # Where a region's pools stand: in its own file, or in the defaults.
  pools = {
    for file, region in local.readable : file => {
      file  = contains(keys(local.said[file]), "pools") ? file : local.own_file
      key   = contains(keys(local.said[file]), "pools") ? "pools" : "defaults.pools"
      pools = try(merge(region.pools, {}), {})
    }
  }

  pool_problems = flatten([
    for file, at in local.pools : concat(
      [
        for count in [length(at.pools)] : {
          file    = contains(keys(local.regions[file]), "pools") ? at.file : file
          key     = contains(keys(local.regions[file]), "pools") ? at.key : "pools"
          found   = contains(keys(local.regions[file]), "pools") ? "`${jsonencode(local.regions[file].pools)}`" : "nothing"
          allowed = "a map of one or more names, here or under defaults in _environment.yaml"
        }
        if count == 0
      ],
      [
        for name, pool in at.pools : {
          file    = at.file
          key     = "${at.key}.${name}"
          found   = "the name `${name}`"
          allowed = local.name_words
        }
        if !can(regex("^${local.name}$", name))
      ],
      [
        for name, pool in at.pools : {
          file    = at.file
          key     = "${at.key}.${name}"
          found   = "`${jsonencode(pool)}`"
          allowed = "a map of ${join(", ", sort(concat(local.pool_keys.required, local.pool_keys.optional)))}"
        }
        if !can(keys(pool))
      ],
      flatten([
        for name, pool in at.pools : [
          for key in setsubtract(try(keys(pool), []), concat(local.pool_keys.required, local.pool_keys.optional)) :
          { file = at.file, key = "${at.key}.${name}.${key}", found = "an unknown key", allowed = join(", ", sort(concat(local.pool_keys.required, local.pool_keys.optional))) }
        ]
      ]),
      flatten([
        for name, pool in at.pools : [
          for key, shape in { machine = "machine", min = "count_from_0", max = "count_from_1", spot = "boolean" } : {
            file                      = at.file
            key                       = "${at.key}.${name}.${key}"
            found                     = try("`${jsonencode(pool[key])}`", "nothing")
            allowed                   = local.shapes[shape].words
          }
          if can(keys(pool))
          && !can(regex(local.shapes[shape].pattern, jsonencode(pool[key])))
          && (contains(local.pool_keys.required, key) || contains(try(keys(pool), []), key))
        ]
      ]),
      [
        for name, pool in at.pools : {
          file    = at.file
          key     = "${at.key}.${name}.min"
          found   = "`${pool.min}`"
          allowed = "a whole number from 0 to max, which is ${pool.max}"
        }
        if try(pool.min > pool.max, false)
        && can(regex(local.shapes.count_from_1.pattern, jsonencode(try(pool.max, null))))
      ],
      [
        for most in try([sum([for pool in at.pools : try(pool.spot, false) ? 0 : pool.max])], []) : {
          file    = at.file
          key     = at.key
          found   = "${most} nodes at most in the pools that are not spot"
          allowed = "2 or more (max) in all: two replicas need a place when spot nodes are taken away"
        }
        if most < 2
        && alltrue([
          for pool in at.pools :
          can(regex(local.shapes.count_from_1.pattern, jsonencode(try(pool.max, null))))
        ])
      ],
    )
  ])
}
