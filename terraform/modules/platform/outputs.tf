output "parent" {
  description = "Where projects are made: organizations/NUMBER or folders/NUMBER."
  value       = try(local.said.organisation, null)

  precondition {
    condition     = length(local.problems) == 0
    error_message = "platform.yaml is not sound:\n${join("\n", local.problems)}"
  }
}

output "billing_account" {
  description = "The account that is billed."
  value       = try(local.said.billing_account, null)
}

output "delivery" {
  description = "The project that environments share: project, location and repository."
  value       = local.delivery

  precondition {
    condition     = length(local.problems) == 0
    error_message = "platform.yaml is not sound:\n${join("\n", local.problems)}"
  }
}

output "registry" {
  description = <<-EOT
    Where images come from: project, location, host, and the repositories own
    (what the pipeline pushes) and mirror (of Docker Hub).
  EOT
  value       = local.registry
}

output "attestor" {
  description = "The attestor of what the pipeline built: its project and name."
  value       = { project = local.delivery.project, name = "pipeline" }
}

output "operators" {
  description = "For each environment, and for delivery, who may act as its Terraform account."
  value       = { for name, members in try(local.said.operators, {}) : name => tolist(members) }
}

output "terraform_account" {
  description = "Id of the account, in each project, that applies Terraform."
  value       = "terraform"
}
