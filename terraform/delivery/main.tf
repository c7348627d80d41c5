# What environments share: where images are, who pushes them, and who vouches
# for them.

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
  labels = { managed-by = "terraform", meridian-environment = "delivery" }

  # One pipeline builds for all of them.
  pipelines = distinct([
    for one in module.catalogue : {
      organisation = one.environment.pipeline.organisation
      project      = one.environment.pipeline.project
      issuer       = one.environment.pipeline.issuer
    }
    if one.environment.pipeline != null
  ])
}

provider "google" {
  project                     = module.platform.delivery.project
  default_labels              = local.labels
  impersonate_service_account = "${module.platform.terraform_account}@${module.platform.delivery.project}.iam.gserviceaccount.com"
}

data "google_project" "environment" {
  for_each   = local.environments
  project_id = module.catalogue[each.key].environment.project

  lifecycle {
    precondition {
      condition     = length(local.pipelines) == 1
      error_message = "The environments of the catalogue name ${length(local.pipelines)} pipelines (organisation, project, issuer); allowed is one, which builds for all of them."
    }
  }
}

module "delivery" {
  source = "../modules/delivery"

  project  = module.platform.delivery.project
  registry = module.platform.registry
  attestor = module.platform.attestor.name
  pipeline = try(local.pipelines[0], null)
  readers  = { for name, project in data.google_project.environment : name => project.number }
  labels   = local.labels

  depends_on = [google_project_service.this]
}
