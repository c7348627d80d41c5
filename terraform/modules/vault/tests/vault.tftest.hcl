# Needs no credentials: nothing of Google is called.
mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = {
      member = "serviceAccount:vault-one@meridian-test.iam.gserviceaccount.com"
    }
  }
  mock_resource "google_compute_address" {
    defaults = { address = "10.0.0.7" }
  }
}

variables {
  project = "meridian-test"
  region = {
    cluster  = "meridian-test-one"
    location = "europe-west4"
    labels   = { meridian-region = "one" }
    vault = {
      account           = "vault-one"
      snapshots_account = "snaps-one"
      namespace         = "secrets"
      name              = "store"
      host              = "vault.one.example.com"
    }
  }
  cluster       = "projects/meridian-test/locations/europe-west4/clusters/meridian-test-one"
  nodes_account = "nodes-one@meridian-test.iam.gserviceaccount.com"
  key_ring      = "projects/meridian-test/locations/europe-west4/keyRings/meridian-test-one"
  unseal_role   = "projects/meridian-test/roles/vaultUnseal"
  network       = "projects/meridian-test/global/networks/meridian-test"
  subnetwork    = "projects/meridian-test/regions/europe-west4/subnetworks/one"
  image         = "europe-west4-docker.pkg.dev/meridian-test/docker-hub/hashicorp/vault"
}

run "has_nodes_of_its_own_off_spot" {
  command = plan

  assert {
    condition = (
      !google_container_node_pool.vault.node_config[0].spot &&
      google_container_node_pool.vault.node_count == 1 &&
      [for taint in google_container_node_pool.vault.node_config[0].taint : "${taint.key}=${taint.value}:${taint.effect}"]
      == ["meridian.internal/pool=vault:NO_SCHEDULE"]
    )
    error_message = jsonencode(google_container_node_pool.vault)
  }
  assert {
    condition = (
      output.values.server.tolerations[0].key == google_container_node_pool.vault.node_config[0].taint[0].key &&
      output.values.server.nodeSelector["meridian.internal/pool"] == google_container_node_pool.vault.node_config[0].labels["meridian.internal/pool"]
    )
    error_message = jsonencode(output.values)
  }
}

run "has_three_nodes_in_fewer_zones" {
  command = plan
  variables {
    region = {
      cluster  = "meridian-test-one"
      location = "europe-west4"
      zones    = ["a", "b"]
      vault = {
        account           = "vault-one"
        snapshots_account = "snaps-one"
        namespace         = "vault"
        name              = "vault"
        host              = "vault.one.example.com"
      }
    }
  }

  assert {
    condition     = google_container_node_pool.vault.node_count == 2
    error_message = "3 nodes over 2 zones are 2 in each"
  }
}

run "unseals_with_its_own_key_and_nothing_more" {
  command = apply

  assert {
    condition = (
      google_kms_crypto_key_iam_member.seal.crypto_key_id == google_kms_crypto_key.seal.id &&
      google_kms_crypto_key_iam_member.seal.role == var.unseal_role &&
      google_kms_crypto_key.seal.key_ring == var.key_ring
    )
    error_message = jsonencode(google_kms_crypto_key_iam_member.seal)
  }
  assert {
    condition     = google_service_account_iam_member.vault.member == "serviceAccount:meridian-test.svc.id.goog[secrets/store]"
    error_message = google_service_account_iam_member.vault.member
  }
}

run "keeps_snapshots_that_nobody_can_take_away" {
  command = apply

  assert {
    condition = (
      google_storage_bucket.snapshots.retention_policy[0].retention_period == 604800 &&
      google_storage_bucket.snapshots.name == "meridian-test-snaps-one" &&
      google_storage_bucket_iam_member.snapshots.role == "roles/storage.objectCreator"
    )
    error_message = jsonencode(google_storage_bucket.snapshots)
  }
  assert {
    condition     = output.snapshots.service_account == "secrets/store-snapshots"
    error_message = jsonencode(output.snapshots)
  }
}

run "is_reached_inside_of_the_network_alone" {
  command = apply

  assert {
    condition = (
      google_compute_address.vault.address_type == "INTERNAL" &&
      google_dns_managed_zone.vault.visibility == "private" &&
      google_dns_record_set.vault.name == "vault.one.example.com." &&
      google_dns_record_set.vault.rrdatas == tolist(["10.0.0.7"])
    )
    error_message = jsonencode(google_dns_record_set.vault)
  }
  assert {
    condition = output.values.ui.annotations == {
      "networking.gke.io/load-balancer-type"         = "Internal"
      "networking.gke.io/load-balancer-ip-addresses" = "meridian-test-one-vault"
    }
    error_message = jsonencode(output.values.ui)
  }
}

run "refuses_to_keep_snapshots_for_less_than_their_retention" {
  command = plan
  variables {
    snapshot_days = 6
  }

  expect_failures = [var.snapshot_days]
}
