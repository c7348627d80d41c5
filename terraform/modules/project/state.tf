# Where the state is: every version of it for a quarter of a year, encrypted
# with a key of the project. Cloud Storage itself locks it for Terraform.

resource "google_kms_key_ring" "state" {
  project  = google_project.this.project_id
  name     = "terraform-state"
  location = var.location

  depends_on = [google_project_service.this]
}

resource "google_kms_crypto_key" "state" {
  key_ring        = google_kms_key_ring.state.id
  name            = "state"
  labels          = var.labels
  rotation_period = "7776000s"
  # For so long a destroyed key can be had back; 120 days are the most.
  destroy_scheduled_duration = "10368000s"

  lifecycle {
    prevent_destroy = true
  }
}

# Cloud Storage's own account; asking for it makes it.
data "google_storage_project_service_account" "this" {
  project = google_project.this.project_id

  depends_on = [google_project_service.this]
}

resource "google_kms_crypto_key_iam_member" "storage" {
  crypto_key_id = google_kms_crypto_key.state.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.this.member
}

resource "google_storage_bucket" "state" {
  project  = google_project.this.project_id
  name     = "${var.project}-terraform-state"
  location = var.location
  labels   = var.labels

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }
  # What was replaced a quarter of a year ago, and by ten others since.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 90
      num_newer_versions         = 10
    }
  }

  encryption {
    default_kms_key_name = google_kms_crypto_key.state.id
  }

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [google_kms_crypto_key_iam_member.storage]
}

resource "google_storage_bucket_iam_member" "terraform" {
  bucket = google_storage_bucket.state.name
  role   = "roles/storage.objectUser"
  member = google_service_account.terraform.member
}
