# Where images and releases are. A tag never moves, so a commit is one release
# for ever; who reads them, reads by digest.

resource "google_artifact_registry_repository" "own" {
  project       = var.project
  location      = var.registry.location
  repository_id = var.registry.own
  description   = "Images and releases that the pipeline built"
  format        = "DOCKER"
  labels        = var.labels

  docker_config {
    immutable_tags = true
  }
  vulnerability_scanning_config {
    enablement_config = "INHERITED"
  }

  # A release has a tag. Which of them still run, or may have to run again, only
  # the clusters know, so none is deleted by age; what a push that failed left
  # behind is.
  cleanup_policies {
    id     = "untagged"
    action = "DELETE"
    condition {
      tag_state  = "UNTAGGED"
      older_than = "${var.untagged_days * 24 * 3600}s"
    }
  }
  cleanup_policies {
    id     = "tagged"
    action = "KEEP"
    condition {
      tag_state = "TAGGED"
    }
  }
}

# Images of others, by way of a copy that is ours: nodes do not depend on Docker
# Hub's limits, and modules/admission lets in only what it names.
resource "google_artifact_registry_repository" "mirror" {
  project       = var.project
  location      = var.registry.location
  repository_id = var.registry.mirror
  description   = "A mirror of Docker Hub, for Vault's image"
  format        = "DOCKER"
  mode          = "REMOTE_REPOSITORY"
  labels        = var.labels

  remote_repository_config {
    docker_repository {
      public_repository = "DOCKER_HUB"
    }
  }
  vulnerability_scanning_config {
    enablement_config = "INHERITED"
  }

  # What is deleted here is fetched again when it is asked for.
  cleanup_policies {
    id     = "old"
    action = "DELETE"
    condition {
      tag_state  = "ANY"
      older_than = "${365 * 24 * 3600}s"
    }
  }
}

locals {
  repositories = {
    own    = google_artifact_registry_repository.own.repository_id
    mirror = google_artifact_registry_repository.mirror.repository_id
  }
}

# Nodes pull and jobs read; a region that is added needs nothing here.
resource "google_artifact_registry_repository_iam_member" "reader" {
  for_each = {
    for pair in setproduct(keys(local.repositories), keys(var.readers)) :
    "${pair[0]}/${pair[1]}" => { repository = pair[0], number = var.readers[pair[1]] }
  }

  project    = var.project
  location   = var.registry.location
  repository = local.repositories[each.value.repository]
  role       = "roles/artifactregistry.reader"
  member     = "principalSet://cloudresourcemanager.googleapis.com/projects/${each.value.number}/type/ServiceAccount"
}

# May push, and may not delete.
resource "google_artifact_registry_repository_iam_member" "pusher" {
  project    = var.project
  location   = var.registry.location
  repository = google_artifact_registry_repository.own.repository_id
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.pusher.member
}
