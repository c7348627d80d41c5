output "environment" {
  description = "The environment: its name, Google project, DNS domain, the prefix of the names of what it owns, and labels."
  value = {
    name    = local.environment
    project = try(local.own.project, null)
    domain  = try(local.own.domain, null)
    prefix  = local.prefix
    labels  = local.labels
  }

  precondition {
    condition     = length(local.problems_of_environment) == 0
    error_message = "The catalogue of ${local.environment} is not sound:\n${join("\n", local.problems_of_environment)}"
  }
}

output "regions" {
  description = <<-EOT
    The environment's regions by name, defaults and conventions applied:
    cluster, nodes_account, location, zones (letters; empty is Google's
    choice), labels, subnets (nodes, services, pods) and pools (machine, min
    and max over all zones, spot).
  EOT
  value       = local.derived

  precondition {
    condition     = length(local.problems_of_regions) == 0
    error_message = "The catalogue of ${local.environment} is not sound:\n${join("\n", local.problems_of_regions)}"
  }
}
