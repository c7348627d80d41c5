# The environment, from its folder of the catalogue. This file is the same in
# every environment: what differs stands in settings.tf and in the catalogue.

module "platform" {
  source = "../../modules/platform"
  file   = "${path.module}/../../platform.yaml"
}

module "catalogue" {
  source = "../../modules/catalogue"
  folder = "${path.module}/../../../regions/catalogue/${basename(abspath(path.module))}"
}

provider "google" {
  project                     = module.catalogue.environment.project
  default_labels              = module.catalogue.environment.labels
  impersonate_service_account = local.operator
}

data "google_project" "this" {
  project_id = module.catalogue.environment.project
}

locals {
  operator = "${module.platform.terraform_account}@${module.catalogue.environment.project}.iam.gserviceaccount.com"

  # Those whose Vault runs in their cluster.
  with_vault = {
    for name, region in module.catalogue.regions : name => region
    if region.vault != null
  }
}

module "network" {
  source = "../../modules/network"

  project = module.catalogue.environment.project
  name    = module.catalogue.environment.prefix
  regions = module.catalogue.regions

  depends_on = [google_project_service.this]
}

module "region" {
  source   = "../../modules/region"
  for_each = module.catalogue.regions

  project             = module.catalogue.environment.project
  project_number      = data.google_project.this.number
  operator            = "serviceAccount:${local.operator}"
  region              = each.value
  network             = module.network.id
  subnetwork          = module.network.subnetworks[each.key]
  release_channel     = local.release_channel
  deletion_protection = !contains(var.removing, each.key)
}

module "vault" {
  source   = "../../modules/vault"
  for_each = local.with_vault

  project       = module.catalogue.environment.project
  region        = each.value
  cluster       = module.region[each.key].cluster_id
  nodes_account = module.region[each.key].nodes_account
  key_ring      = module.region[each.key].key_ring
  unseal_role   = google_project_iam_custom_role.unseal.name
  network       = module.network.id
  subnetwork    = module.network.subnetworks[each.key].id
  image         = module.admission.vault_image
}

module "entry" {
  source = "../../modules/entry"

  project = module.catalogue.environment.project
  name    = module.catalogue.environment.prefix
  domain  = module.catalogue.environment.domain
  regions = module.catalogue.regions
  labels  = module.catalogue.environment.labels

  depends_on = [google_project_service.this]
}

module "admission" {
  source = "../../modules/admission"

  project  = module.catalogue.environment.project
  registry = module.platform.registry
  attestor = module.platform.attestor
  attested = local.attested

  depends_on = [google_project_service.this]
}

module "deployer" {
  source = "../../modules/deployer"
  count  = module.catalogue.environment.pipeline == null ? 0 : 1

  project          = module.catalogue.environment.project
  pipeline         = module.catalogue.environment.pipeline
  successor        = module.catalogue.environment.successor
  vault_namespaces = [for region in local.with_vault : region.vault.namespace]

  depends_on = [google_project_service.this]
}
