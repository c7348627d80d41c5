# What two regions of an environment must not share.

locals {
  # The first address of each sound range as a number, and how many it has.
  spans = {
    for file, range in local.ranges : file => {
      first = sum([
        for index, octet in split(".", split("/", range)[0]) :
        tonumber(octet) * pow(256, 3 - index)
      ])
      size = pow(2, 32 - tonumber(split("/", range)[1]))
    }
    if cidrsubnet(range, 0, 0) == range
  }

  locations = {
    for file, region in local.regions : file => region.location
    if can(regex(local.shapes.location.pattern, jsonencode(region.location)))
  }
  sources = {
    for file, location in local.locations :
    file => try(tostring(local.regions[file].geo), location)
  }

  sorted = sort(local.region_files)
  pairs = [
    for pair in setproduct(range(length(local.sorted)), range(length(local.sorted))) :
    [local.sorted[pair[0]], local.sorted[pair[1]]]
    if pair[0] < pair[1]
  ]

  between_problems = concat(
    [
      for pair in local.pairs : {
        file    = pair[1]
        key     = "range"
        found   = "`${local.ranges[pair[1]]}`, which overlaps `${local.ranges[pair[0]]}` (${pair[0]})"
        allowed = "a range apart from those of the environment's other regions"
      }
      if try(
        local.spans[pair[0]].first < local.spans[pair[1]].first + local.spans[pair[1]].size &&
        local.spans[pair[1]].first < local.spans[pair[0]].first + local.spans[pair[0]].size,
        false
      )
    ],
    [
      for pair in local.pairs : {
        file    = pair[1]
        key     = "location"
        found   = "`${local.locations[pair[1]]}` again, as in ${pair[0]}"
        allowed = "one region in each location"
      }
      if try(local.locations[pair[0]] == local.locations[pair[1]], false)
    ],
    [
      for pair in local.pairs : {
        file    = pair[1]
        key     = "geo"
        found   = "`${local.sources[pair[1]]}` again, as in ${pair[0]}"
        allowed = "clients of each location sent to one region"
      }
      if try(local.sources[pair[0]] == local.sources[pair[1]], false)
      && try(local.locations[pair[0]] != local.locations[pair[1]], false)
    ],
  )
}
