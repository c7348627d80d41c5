output "environment" {
  description = <<-EOT
    The environment: its name, Google project, DNS domain, the prefix of the
    names of what it owns, labels, the pipeline that may deploy to it
    (organisation, project, contexts, issuer; null where none may), and the
    successor: the Google project of the environment to which releases go
    next, null where no pipeline deploys to one.
  EOT
  value = {
    name      = local.environment
    project   = try(local.own.project, null)
    domain    = try(local.own.domain, null)
    prefix    = local.prefix
    labels    = local.labels
    pipeline  = local.pipeline
    successor = local.successor
  }

  precondition {
    condition     = length(local.lines.environment) == 0
    error_message = "The catalogue of ${local.environment} is not sound:\n${join("\n", local.lines.environment)}"
  }
}

output "regions" {
  description = <<-EOT
    The environment's regions by name, defaults and conventions applied:
    cluster, nodes_account, location, zones (letters; empty is Google's
    choice), geo, labels, subnets (nodes, services, pods), pools (machine, min
    and max over all zones, spot), maintenance (start, end, recurrence) and
    vault (account, snapshots_account, namespace, name, host; null where Vault
    does not run in the region's cluster).
  EOT
  value       = local.derived

  precondition {
    condition     = length(local.lines.regions) == 0
    error_message = "The catalogue of ${local.environment} is not sound:\n${join("\n", local.lines.regions)}"
  }
}
