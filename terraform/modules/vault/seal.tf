# The key with which servers unseal themselves, and who the servers are. The
# names are those that `regions` writes into their configuration
# (regions/src/plan/vault/chart.rs).

resource "google_kms_crypto_key" "seal" {
  #checkov:skip=CKV_GCP_82:A region goes with its keys, which can be had back for 120 days (2026-11-25)
  key_ring        = var.key_ring
  name            = "vault"
  labels          = var.region.labels
  rotation_period = "7776000s"
  # Without this key no snapshot can ever be opened. For so long a destroyed one
  # can be had back; 120 days are the most.
  destroy_scheduled_duration = "10368000s"
}

resource "google_service_account" "vault" {
  project      = var.project
  account_id   = var.region.vault.account
  display_name = "Vault of ${var.region.cluster}"
  description  = "The servers of Vault: unseal themselves with one key"
}

resource "google_kms_crypto_key_iam_member" "seal" {
  crypto_key_id = google_kms_crypto_key.seal.id
  role          = var.unseal_role
  member        = google_service_account.vault.member
}

# The chart names the ServiceAccount as the StatefulSet.
resource "google_service_account_iam_member" "vault" {
  service_account_id = google_service_account.vault.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[${var.region.vault.namespace}/${var.region.vault.name}]"

  # The cluster's pool of identities is there once the cluster is.
  depends_on = [google_container_node_pool.vault]
}
