# The region's keys in Cloud KMS. A key ring is never deleted: a region that
# comes back under its name finds its ring there, and it is imported.

resource "google_kms_key_ring" "this" {
  project  = var.project
  name     = var.region.cluster
  location = var.region.location
}

resource "google_kms_crypto_key" "secrets" {
  #checkov:skip=CKV_GCP_82:A region goes with its keys, which can be had back for 120 days (2026-11-25)
  key_ring        = google_kms_key_ring.this.id
  name            = "secrets"
  labels          = var.region.labels
  rotation_period = "7776000s"
  # For so long a destroyed key can be had back; 120 days are the most.
  destroy_scheduled_duration = "10368000s"
}

# Google Kubernetes Engine's own account.
resource "google_kms_crypto_key_iam_member" "kubernetes" {
  crypto_key_id = google_kms_crypto_key.secrets.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:service-${var.project_number}@container-engine-robot.iam.gserviceaccount.com"
}
