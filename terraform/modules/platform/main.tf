# platform.yaml with the names that follow from it. What differs between
# environments is the catalogue's.

locals {
  said = yamldecode(file(var.file))

  delivery = {
    project    = try(local.said.delivery.project, "")
    location   = try(local.said.delivery.location, "")
    repository = try(local.said.delivery.repository, "")
  }

  # Where images come from: our own, and Docker Hub's by way of a mirror.
  registry = {
    project  = local.delivery.project
    location = local.delivery.location
    own      = local.delivery.repository
    mirror   = "docker-hub"
    host     = "${local.delivery.location}-docker.pkg.dev"
  }

  problems = [
    for problem in [
      {
        key     = "organisation"
        wrong   = !can(regex("^(organizations|folders)/[0-9]+$", local.said.organisation))
        allowed = "organizations/NUMBER or folders/NUMBER"
      },
      {
        key     = "billing_account"
        wrong   = !can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", local.said.billing_account))
        allowed = "an account such as 0A1B2C-3D4E5F-6A7B8C"
      },
      {
        key     = "delivery.project"
        wrong   = !can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", local.delivery.project))
        allowed = "the id of a Google project: 6 to 30 small letters, digits and hyphens, a letter first, no hyphen at the end"
      },
      {
        key     = "delivery.location"
        wrong   = !can(regex("^[a-z]+(-[a-z]+)+[0-9]+$", local.delivery.location))
        allowed = "a Google region, such as europe-west4"
      },
      {
        key     = "delivery.repository"
        wrong   = !can(regex("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", local.delivery.repository)) || local.delivery.repository == local.registry.mirror
        allowed = "a name of small letters, digits and hyphens, other than ${local.registry.mirror}"
      },
      {
        key = "operators"
        wrong = !try(length(local.said.operators) > 0 && alltrue(flatten([
          for members in values(local.said.operators) : [
            for member in members : can(regex("^(group|user|serviceAccount):[^@ ]+@[^@ ]+$", member))
          ]
        ])), false)
        allowed = "for each environment, and for delivery, a list such as [group:platform@example.com]"
      },
    ] : "${problem.key}: allowed is ${problem.allowed}" if problem.wrong
  ]
}
