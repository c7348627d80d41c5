# Names, labels and ranges that no file says.

locals {
  prefix = "meridian-${local.environment}"
  names = {
    for file in local.region_files : file => {
      region  = trimsuffix(file, ".yaml")
      cluster = "${local.prefix}-${trimsuffix(file, ".yaml")}"
      account = "nodes-${trimsuffix(file, ".yaml")}"
    }
  }
  labels = {
    managed-by           = "terraform"
    meridian-environment = local.environment
  }

  # Empty while there is a problem: what is wrong is told, not stumbled over.
  derived = {
    for file in local.sound ? local.region_files : toset([]) :
    local.names[file].region => {
      cluster       = local.names[file].cluster
      nodes_account = local.names[file].account
      location      = local.regions[file].location
      zones         = try(sort(local.regions[file].zones), [])
      labels = merge(local.labels, {
        meridian-region = local.names[file].region
      })
      subnets = {
        nodes    = cidrsubnet(local.regions[file].range, 6, 0)
        services = cidrsubnet(local.regions[file].range, 6, 1)
        pods     = cidrsubnet(local.regions[file].range, 2, 1)
      }
      pools = {
        for name, pool in local.regions[file].pools : name => {
          machine = pool.machine
          min     = pool.min
          max     = pool.max
          spot    = try(pool.spot, false)
        }
      }
    }
  }
}
