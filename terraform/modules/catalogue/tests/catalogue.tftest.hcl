# The catalogues of these tests stand beside this file; those of the project
# are planned by terraform/tests.

variables {
  folder = "./tests/catalogue/first"
}

run "names_the_environment_by_its_folder" {
  command = plan

  assert {
    condition = output.environment == {
      name    = "first"
      project = "meridian-first"
      domain  = "first.example.com"
      prefix  = "meridian-first"
      labels = {
        managed-by           = "terraform"
        meridian-environment = "first"
      }
    }
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
