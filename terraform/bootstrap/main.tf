# What must be there before any environment's Terraform runs: a project for
# each environment of the catalogue and one that they share, each with its
# state and with the account that applies. Applied by a person, rarely.

module "platform" {
  source = "../modules/platform"
  file   = "${path.module}/../platform.yaml"
}

module "catalogue" {
  source   = "../modules/catalogue"
  for_each = local.environments
  folder   = "${local.catalogue}/${each.key}"
}

locals {
  catalogue = "${path.module}/../../regions/catalogue"
  environments = toset([
    for file in fileset(local.catalogue, "*/_environment.yaml") : dirname(file)
  ])
}

module "project" {
  source   = "../modules/project"
  for_each = local.environments

  project         = module.catalogue[each.key].environment.project
  name            = each.key
  parent          = module.platform.parent
  billing_account = module.platform.billing_account
  location        = module.platform.delivery.location
  labels          = module.catalogue[each.key].environment.labels
  account         = module.platform.terraform_account
  roles           = local.roles.environment
  # Its account verifies attestations for clusters, and must be there before
  # delivery lets it.
  services  = ["binaryauthorization.googleapis.com"]
  operators = lookup(module.platform.operators, each.key, [])
}

module "delivery" {
  source = "../modules/project"

  project         = module.platform.delivery.project
  name            = "delivery"
  parent          = module.platform.parent
  billing_account = module.platform.billing_account
  location        = module.platform.delivery.location
  labels          = { managed-by = "terraform", meridian-environment = "delivery" }
  account         = module.platform.terraform_account
  roles           = local.roles.delivery
  operators       = lookup(module.platform.operators, "delivery", [])
}
