# The interfaces of Google Cloud that delivery calls.

resource "google_project_service" "this" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "binaryauthorization.googleapis.com",
    "cloudkms.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "containeranalysis.googleapis.com",
    "containerscanning.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "sts.googleapis.com",
  ])

  project = module.platform.delivery.project
  service = each.key

  # Others in the project may need it.
  disable_on_destroy = false
}
