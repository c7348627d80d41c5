# Names, labels, ranges and times that no file says.

locals {
  prefix = "meridian-${local.environment}"
  names = {
    for file in local.region_files : file => {
      region    = trimsuffix(file, ".yaml")
      cluster   = "${local.prefix}-${trimsuffix(file, ".yaml")}"
      account   = "nodes-${trimsuffix(file, ".yaml")}"
      vault     = "vault-${trimsuffix(file, ".yaml")}"
      snapshots = "snaps-${trimsuffix(file, ".yaml")}"
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
      geo           = local.sources[file]
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
      maintenance = local.maintenance[file]
      # Nothing where Vault does not run in the region's cluster.
      vault = local.vaults[file].in_cluster ? {
        account           = local.names[file].vault
        snapshots_account = local.names[file].snapshots
        namespace         = try(local.vaults[file].service[1], "vault")
        name              = trimsuffix(try(local.vaults[file].service[0], "vault"), "-active")
        host              = "vault.${local.names[file].region}.${try(local.own.domain, "")}"
      } : null
    }
  }

  # How each Vault is reached; service is name and namespace where the address
  # names a Service of the cluster.
  vaults = {
    for file, region in local.regions : file => {
      address      = try(tostring(region.vault.address), null)
      in_cluster   = try(tobool(region.vault.in_cluster), true)
      port_forward = try(tobool(region.vault.port_forward), false)
      service = try(regex(
        "^https://([^.:]+)\\.([^.:]+)\\.svc(?:\\.cluster\\.local)?(?::[0-9]+)?$",
        region.vault.address
      ), null)
    }
    if !contains(keys(region), "vault") || can(regex(local.shapes.address.pattern, jsonencode(region.vault.address)))
  }

  # Twelve hours a week, the least that Google takes, in two nights or days:
  # eight windows that do not touch. Which one is a region's follows from its
  # range, which no other region has, so that no other region moves when one
  # comes or goes; ranges of one size that follow each other get windows that
  # differ.
  windows = [
    for slot in range(8) : {
      days = slot % 2 == 0 ? "MO,WE" : "TU,TH"
      # The first such day of 2026.
      start = "2026-01-0${5 + slot % 2}T${format("%02d", 6 * floor(slot / 2))}:00:00Z"
    }
  ]
  maintenance = {
    for file, range in local.ranges : file => {
      start      = local.windows[local.slots[file]].start
      end        = timeadd(local.windows[local.slots[file]].start, "6h")
      recurrence = "FREQ=WEEKLY;BYDAY=${local.windows[local.slots[file]].days}"
    }
  }
  # The number of a range among all private ranges of its size, by the /16s
  # before it: 256 in 10.0.0.0/8, then 16 in 172.16.0.0/12.
  slots = {
    for file, range in local.ranges : file => floor((
      startswith(range, "10.") ? tonumber(split(".", range)[1])
      : startswith(range, "172.") ? 240 + tonumber(split(".", range)[1])
      : 272
    ) / pow(2, 16 - tonumber(split("/", range)[1]))) % length(local.windows)
  }

  # The Google project of the environment that comes next, where a pipeline
  # deploys to it.
  later     = [for other in values(local.others) : other if try(other.order > local.own.order, false)]
  following = try([for other in local.later : other if other.order == min(local.later[*].order...)][0], null)
  successor = can(keys(local.following.pipeline)) ? try(local.following.project, null) : null

  pipeline = try({
    organisation = local.own.pipeline.organisation
    project      = local.own.pipeline.project
    contexts     = merge(local.own.pipeline.contexts, {})
    issuer       = try(local.own.pipeline.issuer, "https://oidc.circleci.com/org/${local.own.pipeline.organisation}")
  }, null)
}
