# The environment, from its folder of the catalogue. This file is the same in
# every environment: what differs stands in settings.tf and in the catalogue.

module "catalogue" {
  source = "../../modules/catalogue"
  folder = "${path.module}/../../../regions/catalogue/${basename(abspath(path.module))}"
}

provider "google" {
  project        = module.catalogue.environment.project
  default_labels = module.catalogue.environment.labels
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
  region              = each.value
  network             = module.network.id
  subnetwork          = module.network.subnetworks[each.key]
  release_channel     = local.release_channel
  deletion_protection = !contains(var.removing, each.key)
}
