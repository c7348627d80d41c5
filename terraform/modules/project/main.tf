# A Google project, and what Terraform must find in it to begin: interfaces, a
# log of who reads what, and an account that applies.

locals {
  parent = split("/", var.parent)
}

resource "google_project" "this" {
  project_id      = var.project
  name            = var.project
  org_id          = local.parent[0] == "organizations" ? local.parent[1] : null
  folder_id       = local.parent[0] == "folders" ? local.parent[1] : null
  billing_account = var.billing_account
  labels          = var.labels

  # Networks are modules/network's.
  auto_create_network = false
  deletion_policy     = "PREVENT"
}

# Every other interface is switched on by what calls it.
resource "google_project_service" "this" {
  for_each = setunion(var.services, [
    "cloudkms.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "serviceusage.googleapis.com",
    "storage.googleapis.com",
  ])

  project = google_project.this.project_id
  service = each.key

  # Others in the project may need it.
  disable_on_destroy = false
}

# Reads are logged where secrets or the way to them could be read: state,
# snapshots, keys, and tokens of accounts.
resource "google_project_iam_audit_config" "this" {
  for_each = toset([
    "cloudkms.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "storage.googleapis.com",
    "sts.googleapis.com",
  ])

  project = google_project.this.project_id
  service = each.key
  audit_log_config {
    log_type = "DATA_READ"
  }
  audit_log_config {
    log_type = "DATA_WRITE"
  }
  audit_log_config {
    log_type = "ADMIN_READ"
  }
}
