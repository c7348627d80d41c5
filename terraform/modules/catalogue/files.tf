# What stands in the folder, as it is. A file that is no map counts as empty
# here; problems.tf tells of it.

locals {
  environment = basename(abspath(var.folder))
  own_file    = "_environment.yaml"
  entries     = fileset(var.folder, "*")

  region_files = toset([
    for file in local.entries : file
    if endswith(file, ".yaml") && file != local.own_file
  ])

  texts = {
    for file in setunion(local.region_files, [local.own_file]) :
    file => file("${var.folder}/${file}")
  }
  # Each file as JSON; null where it is no YAML.
  contents = {
    for file, text in local.texts :
    file => try(jsonencode(yamldecode(text)), null)
  }
  unreadable = toset([
    for file, json in local.contents : file
    if json == null ? true : !startswith(json, "{")
  ])

  own = try(merge(jsondecode(local.contents[local.own_file]), {}), {})

  # A region's own key replaces the default whole.
  defaults = try(merge(local.own.defaults, {}), {})
  said = {
    for file in setsubtract(local.region_files, local.unreadable) :
    file => jsondecode(local.contents[file])
  }
  regions = {
    for file, said in local.said : file => merge(local.defaults, said)
  }

  # The other environments, for what must differ between them.
  others = {
    for file in fileset("${var.folder}/..", "*/_environment.yaml") :
    dirname(file) => try(
      merge(yamldecode(file("${var.folder}/../${file}")), {}), {}
    )
    if dirname(file) != local.environment
  }
}
