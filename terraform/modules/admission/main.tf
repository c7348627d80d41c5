# Which images run in the environment's clusters: our own, Vault's, and those
# that Google runs in every cluster. Everything else is refused, and that is
# logged.

locals {
  own   = "${var.registry.host}/${var.registry.project}/${var.registry.own}"
  vault = "${var.registry.host}/${var.registry.project}/${var.registry.mirror}/hashicorp/vault"
}

resource "google_binary_authorization_policy" "this" {
  project     = var.project
  description = "Our own images, Vault's, and Google's own in every cluster"

  # Google keeps the list of its own.
  global_policy_evaluation_mode = "ENABLE"

  # A mirror of all of Docker Hub would let in all of Docker Hub.
  admission_whitelist_patterns {
    name_pattern = "${local.vault}:*"
  }
  admission_whitelist_patterns {
    name_pattern = "${local.vault}@*"
  }
  dynamic "admission_whitelist_patterns" {
    for_each = var.attested ? [] : ["${local.own}/*"]
    content {
      name_pattern = admission_whitelist_patterns.value
    }
  }

  default_admission_rule {
    evaluation_mode         = "REQUIRE_ATTESTATION"
    enforcement_mode        = "ENFORCED_BLOCK_AND_AUDIT_LOG"
    require_attestations_by = ["projects/${var.attestor.project}/attestors/${var.attestor.name}"]
  }
}
