terraform {
  required_version = ">= 1.11.0, < 2.0.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "= 6.50.0"
    }
  }

  # The state is in the environment's own project: who may change one
  # environment need not be able to read another. GCS locks it, and keeps every
  # version of it (modules/project).
  backend "gcs" {
    bucket                      = "meridian-production-terraform-state"
    prefix                      = "environments/production"
    impersonate_service_account = "terraform@meridian-production.iam.gserviceaccount.com"
  }
}
