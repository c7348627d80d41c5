# Needs no credentials: nothing of Google is called.
mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = {
      email  = "nodes-one@meridian-test.iam.gserviceaccount.com"
      member = "serviceAccount:nodes-one@meridian-test.iam.gserviceaccount.com"
    }
  }
}

variables {
  project        = "meridian-test"
  project_number = "123456789012"
  operator       = "serviceAccount:terraform@meridian-test.iam.gserviceaccount.com"
  region = {
    cluster       = "meridian-test-one"
    nodes_account = "nodes-one"
    location      = "europe-west4"
    labels        = { meridian-region = "one" }
    maintenance   = { start = "2026-01-05T00:00:00Z", end = "2026-01-05T06:00:00Z", recurrence = "FREQ=WEEKLY;BYDAY=MO,WE" }
    pools = {
      spot      = { machine = "e2-standard-4", min = 0, max = 6, spot = true }
      on-demand = { machine = "e2-standard-4", min = 2, max = 6 }
      large     = { machine = "n2-standard-8", min = 4, max = 4 }
      single    = { machine = "n2-standard-8", min = 1, max = 2 }
    }
  }
  network = "projects/meridian-test/global/networks/meridian-test"
  subnetwork = {
    id       = "projects/meridian-test/regions/europe-west4/subnetworks/one"
    pods     = "pods"
    services = "services"
  }
}

run "taints_spot_pools_and_no_others" {
  command = plan

  assert {
    condition = [
      for taint in google_container_node_pool.this["spot"].node_config[0].taint :
      "${taint.key}=${taint.value}:${taint.effect}"
    ] == ["cloud.google.com/gke-spot=true:NO_SCHEDULE"]
    error_message = jsonencode(google_container_node_pool.this["spot"].node_config[0].taint)
  }
  assert {
    condition = alltrue([
      for name, pool in google_container_node_pool.this :
      pool.node_config[0].spot == (name == "spot") &&
      (name == "spot" || length(pool.node_config[0].taint) == 0) &&
      pool.node_config[0].labels["meridian.internal/pool"] == name
    ])
    error_message = "a pool is spot, tainted or labelled other than it should be"
  }
}

run "starts_pools_inside_their_bounds" {
  command = plan

  assert {
    condition = {
      for name, pool in google_container_node_pool.this :
      name => pool.initial_node_count
    } == { spot = 0, on-demand = 1, large = 1, single = 0 }
    error_message = "for each of three zones: no more than max over all, and min where that allows it"
  }
}

run "spreads_initial_nodes_over_the_zones_that_are_named" {
  command = plan
  variables {
    region = {
      cluster       = "meridian-test-one"
      nodes_account = "nodes-one"
      location      = "europe-west4"
      maintenance   = { start = "2026-01-05T00:00:00Z", end = "2026-01-05T06:00:00Z", recurrence = "FREQ=WEEKLY;BYDAY=MO,WE" }
      zones         = ["a", "b"]
      pools = {
        large = { machine = "n2-standard-8", min = 3, max = 4 }
      }
    }
  }

  assert {
    condition     = google_container_node_pool.this["large"].initial_node_count == 2
    error_message = "3 nodes over 2 zones are 2 in each"
  }
  assert {
    condition = google_container_cluster.this.node_locations == toset([
      "europe-west4-a", "europe-west4-b"
    ])
    error_message = jsonencode(google_container_cluster.this.node_locations)
  }
}

run "gives_nodes_an_identity_with_one_role" {
  command = apply

  assert {
    condition = alltrue([
      for pool in google_container_node_pool.this :
      pool.node_config[0].service_account == output.nodes_account
    ]) && google_container_cluster.this.node_config[0].service_account == output.nodes_account
    error_message = "no node may run as the project's default service account"
  }
  assert {
    condition     = [for role in google_project_iam_member.nodes : role.role] == ["roles/container.defaultNodeServiceAccount"]
    error_message = jsonencode([for role in google_project_iam_member.nodes : role.role])
  }
}

run "is_private_and_protected" {
  command = plan

  assert {
    condition = (
      google_container_cluster.this.private_cluster_config[0].enable_private_nodes &&
      !google_container_cluster.this.control_plane_endpoints_config[0].ip_endpoints_config[0].enabled &&
      google_container_cluster.this.deletion_protection &&
      google_container_cluster.this.enable_shielded_nodes
    )
    error_message = "the cluster must be private, protected and of shielded nodes"
  }
  assert {
    condition     = google_container_cluster.this.workload_identity_config[0].workload_pool == "meridian-test.svc.id.goog"
    error_message = jsonencode(google_container_cluster.this.workload_identity_config)
  }
}

run "encrypts_secrets_with_a_key_of_its_own_ring" {
  command = apply

  assert {
    condition = (
      google_container_cluster.this.database_encryption[0].state == "ENCRYPTED" &&
      google_container_cluster.this.database_encryption[0].key_name == google_kms_crypto_key.secrets.id &&
      google_kms_crypto_key.secrets.key_ring == output.key_ring &&
      google_kms_key_ring.this.location == google_container_cluster.this.location
    )
    error_message = jsonencode(google_container_cluster.this.database_encryption)
  }
  assert {
    condition     = google_kms_crypto_key_iam_member.kubernetes.member == "serviceAccount:service-123456789012@container-engine-robot.iam.gserviceaccount.com"
    error_message = google_kms_crypto_key_iam_member.kubernetes.member
  }
}

run "is_maintained_when_the_catalogue_says" {
  command = plan

  assert {
    condition = (
      google_container_cluster.this.maintenance_policy[0].recurring_window[0].recurrence == "FREQ=WEEKLY;BYDAY=MO,WE" &&
      google_container_cluster.this.maintenance_policy[0].recurring_window[0].end_time == "2026-01-05T06:00:00Z" &&
      google_container_cluster.this.addons_config[0].dns_cache_config[0].enabled
    )
    error_message = jsonencode(google_container_cluster.this.maintenance_policy)
  }
}

run "upgrades_and_ends_spot_nodes_in_their_own_way" {
  command = plan

  assert {
    condition = {
      for name, pool in google_container_node_pool.this :
      name => "${pool.upgrade_settings[0].max_surge}/${pool.upgrade_settings[0].max_unavailable}"
    } == { spot = "0/1", on-demand = "1/0", large = "1/0", single = "1/0" }
    error_message = jsonencode(google_container_node_pool.this["spot"].upgrade_settings)
  }
  assert {
    condition     = output.shutdown_seconds == { spot = 15, on-demand = 3600, large = 3600, single = 3600 }
    error_message = jsonencode(output.shutdown_seconds)
  }
}

run "refuses_spot_pools_alone" {
  command = plan
  variables {
    region = {
      cluster       = "meridian-test-one"
      nodes_account = "nodes-one"
      location      = "europe-west4"
      maintenance   = { start = "2026-01-05T00:00:00Z", end = "2026-01-05T06:00:00Z", recurrence = "FREQ=WEEKLY;BYDAY=MO,WE" }
      pools = {
        spot = { machine = "e2-standard-4", min = 0, max = 6, spot = true }
      }
    }
  }

  expect_failures = [var.region]
}

run "refuses_names_that_google_would_refuse" {
  command = plan
  variables {
    region = {
      cluster       = "meridian-production-northamerica-northeast1"
      nodes_account = "nodes-northamerica-northeast1-b"
      location      = "northamerica-northeast1"
      maintenance   = { start = "2026-01-05T00:00:00Z", end = "2026-01-05T06:00:00Z", recurrence = "FREQ=WEEKLY;BYDAY=MO,WE" }
      pools = {
        on-demand = { machine = "e2-standard-4", min = 1, max = 2 }
      }
    }
  }

  expect_failures = [var.region]
}

run "refuses_an_unknown_release_channel" {
  command = plan
  variables {
    release_channel = "EXTENDED"
  }

  expect_failures = [var.release_channel]
}
