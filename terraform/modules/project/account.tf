# Who applies: an account without a key, as which its operators act for an hour
# at a time.

resource "google_service_account" "terraform" {
  project      = google_project.this.project_id
  account_id   = var.account
  display_name = "Terraform of ${var.name}"
  description  = "Applies the Terraform of ${var.name}; people act as it, and it has no key"

  depends_on = [google_project_service.this]
}

resource "google_project_iam_member" "terraform" {
  for_each = var.roles

  project = google_project.this.project_id
  role    = each.key
  member  = google_service_account.terraform.member
}

resource "google_service_account_iam_member" "operator" {
  for_each = var.operators

  service_account_id = google_service_account.terraform.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.key
}
