# Every problem that Terraform would stumble over, at once: file, key, what was
# found and what is allowed. The keys that infrastructure does not read (bake,
# gates, secrets and so on) are `regions validate`'s.

locals {
  problems_of_environment = [
    for problem in concat(
      local.files_problems, local.own_problems, local.unique_problems,
    ) : "${problem.file}: ${problem.key == "" ? "" : "${problem.key}: "}found ${problem.found}; allowed is ${problem.allowed}"
  ]
  problems_of_regions = distinct([
    for problem in concat(
      local.names_problems, local.region_problems, local.pool_problems,
      local.between_problems,
    ) : "${problem.file}: ${problem.key == "" ? "" : "${problem.key}: "}found ${problem.found}; allowed is ${problem.allowed}"
  ])
  sound = length(local.problems_of_environment) + length(local.problems_of_regions) == 0

  files_problems = concat(
    [
      for file in local.entries : {
        file    = file
        key     = ""
        found   = "a file that is no region's"
        allowed = "_environment.yaml, and REGION.yaml for each region"
      }
      if !endswith(file, ".yaml")
    ],
    [
      for file, found in local.unreadable :
      { file = file, key = "", found = found, allowed = "a map of keys" }
    ],
    [
      for count in [length(local.region_files)] : {
        file    = "."
        key     = ""
        found   = "no region"
        allowed = "one file for each region"
      }
      if count == 0
    ],
  )

  own_problems = local.unreadable_own ? [] : concat(
    [
      for key in setsubtract(keys(local.own), concat(local.environment_keys.required, local.environment_keys.optional)) :
      { file = local.own_file, key = key, found = "an unknown key", allowed = join(", ", sort(concat(local.environment_keys.required, local.environment_keys.optional))) }
    ],
    [
      for key in setsubtract(local.environment_keys.required, concat(keys(local.own), ["order", "project", "domain", "waves"])) :
      { file = local.own_file, key = key, found = "nothing", allowed = "a map; `regions validate` says more" }
    ],
    [
      for key in setsubtract(keys(local.defaults), local.region_keys.optional) :
      { file = local.own_file, key = "defaults.${key}", found = "an unknown key", allowed = join(", ", local.region_keys.optional) }
    ],
    [
      for key, shape in {
        order = "count_from_1", project = "project", domain = "domain", waves = "waves"
        } : {
        file    = local.own_file
        key     = key
        found   = try("`${jsonencode(local.own[key])}`", "nothing")
        allowed = local.shapes[shape].words
      }
      if !can(regex(local.shapes[shape].pattern, jsonencode(local.own[key])))
    ],
  )
  unreadable_own = contains(keys(local.unreadable), local.own_file)

  unique_problems = [
    for pair in setproduct(["order", "project", "domain"], keys(local.others)) : {
      file    = local.own_file
      key     = pair[0]
      found   = "`${jsonencode(local.own[pair[0]])}`, which ${pair[1]} has too"
      allowed = "what no other environment has"
    }
    if try(local.own[pair[0]] == local.others[pair[1]][pair[0]], false)
  ]
}
