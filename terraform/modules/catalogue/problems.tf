# Every problem that Terraform would stumble over, at once: file, key, what was
# found and what is allowed. The keys that infrastructure does not read (bake,
# gates, secrets and so on) are `regions validate`'s.

locals {
  problems = distinct(concat(
    local.files_problems, local.unknown_keys, local.wrong_values,
    local.wrong_names, local.unique_problems, local.names_problems,
    local.region_problems, local.between_problems,
  ))
  sound = length(local.problems) == 0

  # A problem as a line; those of the environment's own file and of the folder
  # apart from those of regions.
  lines = {
    for of in ["environment", "regions"] : of => [
      for problem in local.problems :
      "${problem.file}: ${problem.key == "" ? "" : "${problem.key}: "}found ${problem.found}; allowed ${problem.allowed}"
      if(of == "environment") == contains([".", local.own_file], problem.file)
    ]
  }

  files_problems = concat(
    [
      for file in local.entries : {
        file    = file
        key     = ""
        found   = can(regex("\\.", file)) ? "the ending .${reverse(split(".", file))[0]}" : "a file without an ending"
        allowed = "_environment.yaml, and REGION.yaml for each region"
      }
      if !endswith(file, ".yaml")
    ],
    [
      for file, json in local.contents :
      { file = file, key = "", found = "an empty file", allowed = "the keys ${local.keys[file]}" }
      if local.empty[file]
    ],
    [
      for file, json in local.contents :
      { file = file, key = "", found = "what is not YAML", allowed = "YAML; `regions validate` shows the line" }
      if json == null && !local.empty[file]
    ],
    [
      for file, json in local.contents : {
        file    = file
        key     = ""
        found   = startswith(json, "[") ? "a list" : startswith(json, "\"") ? "`${jsondecode(json)}`" : "the value `${json}`"
        allowed = "a map with the keys ${local.keys[file]}"
      }
      if contains(local.unreadable, file) && json != null && !local.empty[file]
    ],
    [
      for count in [length(local.region_files)] :
      { file = ".", key = "", found = "no region", allowed = "one file for each region" }
      if count == 0
    ],
    [
      for name in [local.environment] :
      { file = ".", key = "", found = "the name `${name}`", allowed = local.name_words }
      if !can(regex("^${local.name}$", name))
    ],
  )
  keys = {
    for file in keys(local.contents) :
    file => join(", ", sort(keys(local.tables[file == local.own_file ? "environment" : "region"].shapes)))
  }
  # Nothing but comments.
  empty = {
    for file, text in local.texts :
    file => trimspace(replace(text, "/(?m)^\\s*#.*$/", "")) == ""
  }

  unique_problems = [
    for pair in setproduct(keys(local.unique), keys(local.others)) : {
      file    = local.own_file
      key     = pair[0]
      found   = "`${local.own[pair[0]]}` again, as in ${pair[1]}/_environment.yaml"
      allowed = local.unique[pair[0]]
    }
    if try(local.own[pair[0]] == local.others[pair[1]][pair[0]], false)
  ]
  unique = {
    order   = "a place in the order that no other environment has"
    project = "a project that no other environment has"
    domain  = "a name that no other environment has"
  }
}
