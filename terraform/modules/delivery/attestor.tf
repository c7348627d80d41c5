# Who vouches for an image: a key that never leaves Cloud KMS, with which the
# pipeline signs what it built and tested.

resource "google_kms_key_ring" "delivery" {
  project  = var.project
  name     = "delivery"
  location = var.registry.location
}

resource "google_kms_crypto_key" "attestor" {
  key_ring = google_kms_key_ring.delivery.id
  name     = var.attestor
  purpose  = "ASYMMETRIC_SIGN"
  labels   = var.labels
  # For so long a destroyed key can be had back; 120 days are the most.
  destroy_scheduled_duration = "10368000s"

  version_template {
    algorithm        = "EC_SIGN_P256_SHA256"
    protection_level = "SOFTWARE"
  }

  lifecycle {
    prevent_destroy = true
  }
}

data "google_kms_crypto_key_version" "attestor" {
  crypto_key = google_kms_crypto_key.attestor.id
}

resource "google_container_analysis_note" "attestor" {
  project           = var.project
  name              = var.attestor
  short_description = "Built and tested by the pipeline"

  attestation_authority {
    hint {
      human_readable_name = "Built and tested by the pipeline"
    }
  }
}

resource "google_binary_authorization_attestor" "this" {
  project     = var.project
  name        = var.attestor
  description = "Vouches for what the pipeline built and tested"

  attestation_authority_note {
    note_reference = google_container_analysis_note.attestor.name
    public_keys {
      id = data.google_kms_crypto_key_version.attestor.id
      pkix_public_key {
        public_key_pem      = data.google_kms_crypto_key_version.attestor.public_key[0].pem
        signature_algorithm = data.google_kms_crypto_key_version.attestor.public_key[0].algorithm
      }
    }
  }
}

# The pipeline signs, attaches what it signed to the note, and writes it down.
resource "google_kms_crypto_key_iam_member" "attests" {
  crypto_key_id = google_kms_crypto_key.attestor.id
  role          = "roles/cloudkms.signerVerifier"
  member        = google_service_account.pusher.member
}

resource "google_container_analysis_note_iam_member" "attests" {
  project = var.project
  note    = google_container_analysis_note.attestor.name
  role    = "roles/containeranalysis.notes.attacher"
  member  = google_service_account.pusher.member
}

resource "google_project_iam_member" "attests" {
  project = var.project
  role    = "roles/containeranalysis.occurrences.editor"
  member  = google_service_account.pusher.member
}

# Each environment's Binary Authorization asks the attestor.
resource "google_binary_authorization_attestor_iam_member" "verifier" {
  for_each = var.readers

  project  = var.project
  attestor = google_binary_authorization_attestor.this.name
  role     = "roles/binaryauthorization.attestorsVerifier"
  member   = "serviceAccount:service-${each.value}@gcp-sa-binaryauthorization.iam.gserviceaccount.com"
}
