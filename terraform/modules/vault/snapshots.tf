# Where snapshots go. What takes them may add one, and neither read, replace nor
# delete any. They stay in the region: the key that opens them does, too, and a
# region that is lost gets its documents from the others.

resource "google_service_account" "snapshots" {
  project      = var.project
  account_id   = var.region.vault.snapshots_account
  display_name = "Snapshots of ${var.region.cluster}"
  description  = "Adds snapshots of Vault to a bucket"
}

resource "google_service_account_iam_member" "snapshots" {
  service_account_id = google_service_account.snapshots.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[${var.region.vault.namespace}/${var.region.vault.name}-snapshots]"

  # The cluster's pool of identities is there once the cluster is.
  depends_on = [google_container_node_pool.vault]
}

resource "google_storage_bucket" "snapshots" {
  project  = var.project
  name     = "${var.project}-${var.region.vault.snapshots_account}"
  location = var.region.location
  labels   = var.region.labels

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  # Each has a name of its own, and for a week nobody can replace or delete it.
  retention_policy {
    retention_period = 7 * 24 * 3600
  }
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = var.snapshot_days
    }
  }
}

resource "google_storage_bucket_iam_member" "snapshots" {
  bucket = google_storage_bucket.snapshots.name
  role   = "roles/storage.objectCreator"
  member = google_service_account.snapshots.member
}
