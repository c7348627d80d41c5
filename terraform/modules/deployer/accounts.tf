# As whom the jobs act. In Google Cloud they may find a cluster and speak to its
# API server; what they may do there is in access.tf.

resource "google_service_account" "job" {
  for_each = local.contexts

  project      = var.project
  account_id   = each.key
  display_name = "CircleCI's ${each.key}"
  description  = "CircleCI's jobs with one context; has no key"
}

resource "google_service_account_iam_member" "job" {
  for_each = local.contexts

  service_account_id = google_service_account.job[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.circleci.name}/attribute.job/${each.key}"
}

resource "google_project_iam_custom_role" "connect" {
  project     = var.project
  role_id     = "meridianConnect"
  title       = "Reaches the API servers of clusters"
  description = "Finds a cluster and speaks to its API server, which decides what may be done there"
  permissions = [
    # Through the DNS name of the control plane.
    "container.clusters.connect",
    # To learn that name.
    "container.clusters.get",
  ]
}

# Who promotes to the next environment sees for itself what ran here.
resource "google_project_iam_member" "successor" {
  count = var.successor == null ? 0 : 1

  project = var.project
  role    = google_project_iam_custom_role.connect.name
  member  = "serviceAccount:${local.successor}"
}

resource "google_project_iam_member" "connect" {
  for_each = local.contexts

  project = var.project
  role    = google_project_iam_custom_role.connect.name
  member  = google_service_account.job[each.key].member
}
