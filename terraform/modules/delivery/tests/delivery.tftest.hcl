# Needs no credentials: nothing of Google is called. Nothing is applied either,
# since what must not be destroyed could not be taken away after the test.
mock_provider "google" {
  override_during = plan

  mock_resource "google_kms_crypto_key" {
    defaults = { id = "projects/meridian-test/locations/europe-west4/keyRings/ring/cryptoKeys/attestor" }
  }
  mock_resource "google_service_account" {
    defaults = {
      name   = "projects/meridian-test/serviceAccounts/pusher@meridian-test.iam.gserviceaccount.com"
      email  = "pusher@meridian-test.iam.gserviceaccount.com"
      member = "serviceAccount:pusher@meridian-test.iam.gserviceaccount.com"
    }
  }
  mock_resource "google_iam_workload_identity_pool" {
    defaults = { name = "projects/1/locations/global/workloadIdentityPools/circleci" }
  }
}

variables {
  project  = "meridian-test"
  registry = { location = "europe-west4", own = "meridian", mirror = "docker-hub" }
  pipeline = {
    organisation = "0f8b3c5e-1111-4e6a-9d2b-7c41a5e9d001"
    project      = "6d2f9a7c-1111-4b0e-8a53-1e9c3f7bd002"
    issuer       = "https://oidc.circleci.com/org/0f8b3c5e-1111-4e6a-9d2b-7c41a5e9d001"
  }
  readers = { one = "11", two = "22" }
}

run "keeps_releases_and_moves_no_tag" {
  command = plan

  assert {
    condition = (
      google_artifact_registry_repository.own.docker_config[0].immutable_tags &&
      google_artifact_registry_repository.own.vulnerability_scanning_config[0].enablement_config == "INHERITED"
    )
    error_message = jsonencode(google_artifact_registry_repository.own)
  }
  assert {
    condition = toset([
      for policy in google_artifact_registry_repository.own.cleanup_policies :
      "${policy.action} ${policy.condition[0].tag_state}"
    ]) == toset(["DELETE UNTAGGED", "KEEP TAGGED"])
    error_message = jsonencode(google_artifact_registry_repository.own.cleanup_policies)
  }
}

run "lets_each_environment_read_and_the_pipeline_alone_push" {
  command = plan

  assert {
    condition = toset([
      for one in google_artifact_registry_repository_iam_member.reader : "${one.repository} ${one.role} ${one.member}"
      ]) == toset([
      for pair in setproduct(["meridian", "docker-hub"], ["11", "22"]) :
      "${pair[0]} roles/artifactregistry.reader principalSet://cloudresourcemanager.googleapis.com/projects/${pair[1]}/type/ServiceAccount"
    ])
    error_message = jsonencode(google_artifact_registry_repository_iam_member.reader)
  }
  assert {
    condition = (
      google_artifact_registry_repository_iam_member.pusher.role == "roles/artifactregistry.writer" &&
      google_artifact_registry_repository_iam_member.pusher.member == google_service_account.pusher.member
    )
    error_message = jsonencode(google_artifact_registry_repository_iam_member.pusher)
  }
  assert {
    condition     = google_service_account_iam_member.pusher.member == "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/circleci/attribute.project/6d2f9a7c-1111-4b0e-8a53-1e9c3f7bd002"
    error_message = google_service_account_iam_member.pusher.member
  }
}

run "attests_with_a_key_of_cloud_kms" {
  command = plan

  assert {
    condition = (
      google_kms_crypto_key.attestor.purpose == "ASYMMETRIC_SIGN" &&
      google_kms_crypto_key_iam_member.attests.crypto_key_id == google_kms_crypto_key.attestor.id &&
      google_kms_crypto_key_iam_member.attests.member == google_service_account.pusher.member &&
      google_binary_authorization_attestor.this.attestation_authority_note[0].note_reference == google_container_analysis_note.attestor.name
    )
    error_message = jsonencode(google_kms_crypto_key.attestor)
  }
  assert {
    condition     = google_binary_authorization_attestor_iam_member.verifier["one"].member == "serviceAccount:service-11@gcp-sa-binaryauthorization.iam.gserviceaccount.com"
    error_message = jsonencode(google_binary_authorization_attestor_iam_member.verifier)
  }
}

run "refuses_to_delete_at_once" {
  command = plan
  variables {
    untagged_days = 0
  }

  expect_failures = [var.untagged_days]
}
