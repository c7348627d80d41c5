# Needs no credentials: nothing of Google is called. Nothing is applied either,
# since what must not be destroyed could not be taken away after the test.
mock_provider "google" {
  override_during = plan

  mock_resource "google_kms_crypto_key" {
    defaults = { id = "projects/meridian-test/locations/europe-west4/keyRings/ring/cryptoKeys/state" }
  }
  mock_resource "google_service_account" {
    defaults = {
      email  = "terraform@meridian-test.iam.gserviceaccount.com"
      member = "serviceAccount:terraform@meridian-test.iam.gserviceaccount.com"
    }
  }
}

variables {
  project         = "meridian-test"
  name            = "test"
  parent          = "folders/123456789012"
  billing_account = "012345-6789AB-CDEF01"
  location        = "europe-west4"
  labels          = { managed-by = "terraform" }
  roles           = ["roles/container.admin"]
  operators       = ["group:operators@example.com"]
}

run "keeps_every_version_of_an_encrypted_state" {
  command = plan

  assert {
    condition = (
      google_storage_bucket.state.versioning[0].enabled &&
      google_storage_bucket.state.encryption[0].default_kms_key_name == google_kms_crypto_key.state.id &&
      google_storage_bucket.state.uniform_bucket_level_access &&
      google_storage_bucket.state.public_access_prevention == "enforced"
    )
    error_message = jsonencode(google_storage_bucket.state)
  }
  assert {
    condition     = output.state_bucket == "meridian-test-terraform-state"
    error_message = output.state_bucket
  }
}

run "makes_the_project_where_it_was_told" {
  command = plan

  assert {
    condition     = google_project.this.folder_id == "123456789012" && google_project.this.deletion_policy == "PREVENT" && !google_project.this.auto_create_network
    error_message = jsonencode(google_project.this)
  }
}

run "lets_operators_act_as_an_account_without_a_key" {
  command = plan

  assert {
    condition = [
      for one in google_service_account_iam_member.operator : "${one.role} ${one.member}"
    ] == ["roles/iam.serviceAccountTokenCreator group:operators@example.com"]
    error_message = jsonencode(google_service_account_iam_member.operator)
  }
}

run "refuses_basic_roles" {
  command = plan
  variables {
    roles = ["roles/editor"]
  }

  expect_failures = [var.roles]
}

run "refuses_a_parent_that_is_none" {
  command = plan
  variables {
    parent = "meridian"
  }

  expect_failures = [var.parent]
}
