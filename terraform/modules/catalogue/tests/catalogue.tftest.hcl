# The catalogues of these tests stand beside this file; those of the project
# are planned by terraform/tests.

variables {
  folder = "./tests/catalogue/first"
}

run "names_the_environment_by_its_folder" {
  command = plan

  assert {
    condition = jsonencode(output.environment) == jsonencode({
      name      = "first"
      project   = "meridian-first"
      domain    = "first.example.com"
      prefix    = "meridian-first"
      pipeline  = null
      successor = "meridian-second"
      labels = {
        managed-by           = "terraform"
        meridian-environment = "first"
      }
    })
    error_message = jsonencode(output.environment)
  }
}

run "applies_defaults_whole_and_conventions" {
  command = plan

  assert {
    condition     = keys(output.regions) == ["own", "shared"]
    error_message = jsonencode(keys(output.regions))
  }
  assert {
    condition = jsonencode(output.regions.own.pools) == jsonencode({
      only = { machine = "n2-standard-8", max = 4, min = 2, spot = false }
    })
    error_message = "a region's pools must replace the defaults: ${jsonencode(output.regions.own.pools)}"
  }
  assert {
    condition = jsonencode(output.regions.shared.pools) == jsonencode({
      on-demand = { machine = "e2-standard-4", max = 3, min = 1, spot = false }
      spot      = { machine = "e2-standard-4", max = 6, min = 0, spot = true }
    })
    error_message = jsonencode(output.regions.shared.pools)
  }
  assert {
    condition = (
      jsonencode(output.regions.own.zones) == jsonencode(["c"]) &&
      jsonencode(output.regions.shared.zones) == jsonencode(["a", "b"])
    )
    error_message = "zones must be the region's own, or the defaults', in order"
  }
  assert {
    condition = (
      output.regions.own.cluster == "meridian-first-own" &&
      output.regions.own.nodes_account == "nodes-own" &&
      output.regions.own.labels.meridian-region == "own"
    )
    error_message = jsonencode(output.regions.own)
  }
}

run "derives_ranges_that_do_not_overlap" {
  command = plan

  assert {
    condition = output.regions.own.subnets == {
      nodes    = "10.16.0.0/18"
      services = "10.16.64.0/18"
      pods     = "10.20.0.0/14"
    }
    error_message = jsonencode(output.regions.own.subnets)
  }
  assert {
    condition = output.regions.shared.subnets == {
      nodes    = "172.16.0.0/22"
      services = "172.16.4.0/22"
      pods     = "172.16.64.0/18"
    }
    error_message = jsonencode(output.regions.shared.subnets)
  }
}

run "knows_where_a_vault_is" {
  command = plan

  assert {
    condition = jsonencode(output.regions.shared.vault) == jsonencode({
      account           = "vault-shared"
      snapshots_account = "snaps-shared"
      namespace         = "vault"
      name              = "vault"
      host              = "vault.shared.first.example.com"
    })
    error_message = jsonencode(output.regions.shared.vault)
  }
  assert {
    condition     = output.regions.own.vault == null
    error_message = "a Vault outside of the cluster is nobody's here"
  }
}

run "reads_the_pipeline_and_a_vault_that_is_named_as_a_service" {
  command = plan
  variables {
    folder = "./tests/catalogue/third"
  }

  assert {
    condition = jsonencode(output.environment.pipeline) == jsonencode({
      organisation = "0f8b3c5e-1111-4e6a-9d2b-7c41a5e9d001"
      project      = "6d2f9a7c-1111-4b0e-8a53-1e9c3f7bd002"
      contexts     = { promoter = "a1e4c7d2-2111-4c8f-b6a9-52d0e8f4c003" }
      issuer       = "https://oidc.circleci.com/org/0f8b3c5e-1111-4e6a-9d2b-7c41a5e9d001"
    })
    error_message = jsonencode(output.environment.pipeline)
  }
  assert {
    condition     = output.environment.successor == null
    error_message = "nothing comes after the last"
  }
  assert {
    condition = (
      output.regions.b.vault.namespace == "secrets" &&
      output.regions.b.vault.name == "store"
    )
    error_message = jsonencode(output.regions.b.vault)
  }
  assert {
    condition     = output.regions.b.geo == "us-west2" && output.regions.a.geo == "us-east4"
    error_message = "the source of traffic is the one named, or the location"
  }
}

run "maintains_no_two_neighbours_at_once" {
  command = plan
  variables {
    folder = "./tests/catalogue/third"
  }

  assert {
    condition = jsonencode(output.regions.a.maintenance) == jsonencode({
      end        = "2026-01-05T06:00:00Z"
      recurrence = "FREQ=WEEKLY;BYDAY=MO,WE"
      start      = "2026-01-05T00:00:00Z"
    })
    error_message = jsonencode(output.regions.a.maintenance)
  }
  assert {
    condition = length(distinct([
      for region in output.regions : "${region.maintenance.start} ${region.maintenance.recurrence}"
    ])) == 3
    error_message = jsonencode([for region in output.regions : region.maintenance])
  }
  assert {
    condition     = output.regions.c.maintenance.end == "2026-01-07T00:00:00Z"
    error_message = "a window that ends at midnight: ${jsonencode(output.regions.c.maintenance)}"
  }
}

run "refuses_a_broken_region" {
  command = plan
  variables {
    folder = "./tests/catalogue/second"
  }

  expect_failures = [output.regions]
}

run "refuses_a_folder_that_is_no_environment" {
  command = plan
  variables {
    folder = "./tests"
  }

  expect_failures = [var.folder]
}
