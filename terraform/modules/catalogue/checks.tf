# Every map of every file against its table of keys, and every value against
# its shape.

locals {
  # What is looked at key by key: where it stands, and its table.
  maps = concat(
    [
      for file in setsubtract([local.own_file], local.unreadable) :
      { file = file, path = "", table = "environment", json = local.contents[file] }
    ],
    [
      for key in ["defaults", "pipeline"] :
      { file = local.own_file, path = key, table = key, json = jsonencode(local.own[key]) }
      if can(keys(local.own[key]))
    ],
    [
      for contexts in try([merge(local.own.pipeline.contexts, {})], []) :
      { file = local.own_file, path = "pipeline.contexts", table = "contexts", json = jsonencode(contexts) }
    ],
    [
      for file in keys(local.said) :
      { file = file, path = "", table = "region", json = local.contents[file] }
    ],
    [
      for at in local.holders :
      { file = at.file, path = "${at.path}vault", table = "vault", json = jsonencode(at.map.vault) }
      if can(keys(at.map.vault))
    ],
    flatten([
      for at in local.holders : [
        for name, pool in at.map.pools :
        { file = at.file, path = "${at.path}pools.${name}", table = "pool", json = jsonencode(pool) }
        if can(keys(pool)) && can(regex("^${local.name}$", name))
      ]
      if can(keys(at.map.pools))
    ]),
  )

  # Where keys of a region may stand: the defaults, and each region's file.
  holders = concat(
    [{ file = local.own_file, path = "defaults.", map = local.defaults }],
    [for file, said in local.said : { file = file, path = "", map = said }],
  )

  unknown_keys = flatten([
    for map in local.maps : [
      for key in setsubtract(keys(jsondecode(map.json)), keys(local.tables[map.table].shapes)) : {
        file    = map.file
        key     = trimprefix("${map.path}.${key}", ".")
        found   = "a key that is not known here"
        allowed = "the keys ${join(", ", sort(keys(local.tables[map.table].shapes)))}"
      }
    ]
  ])

  # Each value that has a shape, as JSON; null where it is missing.
  values = concat(
    flatten([
      for map in local.maps : [
        for key, shape in local.tables[map.table].shapes : {
          file  = map.file
          key   = trimprefix("${map.path}.${key}", ".")
          shape = shape
          json  = try(jsonencode(jsondecode(map.json)[key]), null)
        }
        if contains(local.tables[map.table].required, key)
        || contains(keys(jsondecode(map.json)), key)
      ]
    ]),
    flatten([
      for at in local.holders : [
        for name, pool in at.map.pools :
        { file = at.file, key = "${at.path}pools.${name}", shape = "pool", json = jsonencode(pool) }
        if !can(keys(pool)) && can(regex("^${local.name}$", name))
      ]
      if can(keys(at.map.pools))
    ]),
    [for item in local.items : { file = item.file, key = item.key, shape = item.shape, json = item.json }],
  )

  # The items of lists, each with the ones before it.
  lists = concat(
    [for list in try([tolist(local.own.waves)], []) : { file = local.own_file, key = "waves", shape = "wave", list = list }],
    [
      for at in local.holders :
      { file = at.file, key = "${at.path}zones", shape = "zone", list = at.map.zones }
      if can(tolist(at.map.zones))
    ],
  )
  items = flatten([
    for list in local.lists : [
      for index, item in list.list : {
        file  = list.file
        key   = "${list.key}[${index}]"
        list  = list.key
        shape = list.shape
        json  = jsonencode(item)
        first = index(list.list, item)
        index = index
      }
    ]
  ])

  wrong_names = flatten([
    for at in local.holders : [
      for name in keys(at.map.pools) :
      { file = at.file, key = "${at.path}pools.${name}", found = "the name `${name}`", allowed = local.name_words }
      if !can(regex("^${local.name}$", name))
    ]
    if can(keys(at.map.pools))
  ])

  wrong_values = concat(
    [
      for value in local.values : {
        file = value.file
        key  = value.key
        # What was found, as people say it.
        found = (
          value.json == null || value.json == "null" ? "nothing"
          : value.json == "\"\"" ? "empty text"
          : value.json == "[]" && local.shapes[value.shape].kind == "list" ? "an empty list"
          : value.json == "{}" && local.shapes[value.shape].kind == "map" ? "an empty map"
          : startswith(value.json, "[") ? "a list"
          : startswith(value.json, "{") ? "a map"
          : !startswith(value.json, "\"") && !contains(["true", "false"], value.json) ? "the number `${value.json}`"
          : startswith(value.json, "\"") && contains(["number", "boolean"], local.shapes[value.shape].kind) ? "the text `${jsondecode(value.json)}`"
          : "`${jsondecode(value.json)}`"
        )
        allowed = local.shapes[value.shape].words
      }
      if !can(regex(local.shapes[value.shape].pattern, value.json == null ? "" : value.json))
      || length(value.json == null ? "" : value.json) - 2 > try(local.shapes[value.shape].longest, 65536)
    ],
    [
      for item in local.items :
      { file = item.file, key = item.key, found = "`${jsondecode(item.json)}` again, as in ${item.list}[${item.first}]", allowed = "each item once" }
      if item.first < item.index && can(regex(local.shapes[item.shape].pattern, item.json))
    ],
  )
}
