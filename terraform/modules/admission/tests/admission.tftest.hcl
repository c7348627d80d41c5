# Needs no credentials: nothing of Google is called.
mock_provider "google" {}

variables {
  project  = "meridian-test"
  registry = { host = "europe-west4-docker.pkg.dev", project = "delivery", own = "meridian", mirror = "docker-hub" }
  attestor = { project = "delivery", name = "pipeline" }
}

run "runs_what_is_attested_and_vault" {
  command = plan

  assert {
    condition = (
      google_binary_authorization_policy.this.default_admission_rule[0].evaluation_mode == "REQUIRE_ATTESTATION" &&
      google_binary_authorization_policy.this.default_admission_rule[0].enforcement_mode == "ENFORCED_BLOCK_AND_AUDIT_LOG" &&
      google_binary_authorization_policy.this.default_admission_rule[0].require_attestations_by == toset(["projects/delivery/attestors/pipeline"])
    )
    error_message = jsonencode(google_binary_authorization_policy.this)
  }
  assert {
    condition = [for one in google_binary_authorization_policy.this.admission_whitelist_patterns : one.name_pattern] == [
      "europe-west4-docker.pkg.dev/delivery/docker-hub/hashicorp/vault:*",
      "europe-west4-docker.pkg.dev/delivery/docker-hub/hashicorp/vault@*",
    ]
    error_message = jsonencode(google_binary_authorization_policy.this.admission_whitelist_patterns)
  }
}

run "takes_our_repository_for_an_attestation_while_there_is_none" {
  command = plan
  variables {
    attested = false
  }

  assert {
    condition     = google_binary_authorization_policy.this.admission_whitelist_patterns[2].name_pattern == "europe-west4-docker.pkg.dev/delivery/meridian/*"
    error_message = jsonencode(google_binary_authorization_policy.this.admission_whitelist_patterns)
  }
  assert {
    condition     = google_binary_authorization_policy.this.default_admission_rule[0].evaluation_mode == "REQUIRE_ATTESTATION"
    error_message = "everything else is refused all the same"
  }
}
