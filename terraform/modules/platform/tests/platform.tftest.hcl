# Needs no provider: a file is read.
variables {
  file = "./tests/fixtures/sound.yaml"
}

run "names_what_environments_share" {
  command = plan

  assert {
    condition = jsonencode(output.registry) == jsonencode({
      host     = "europe-west4-docker.pkg.dev"
      location = "europe-west4"
      mirror   = "docker-hub"
      own      = "meridian"
      project  = "meridian-delivery"
    })
    error_message = jsonencode(output.registry)
  }
  assert {
    condition     = output.attestor == { project = "meridian-delivery", name = "pipeline" }
    error_message = jsonencode(output.attestor)
  }
  assert {
    condition     = output.operators["qa"] == tolist(["group:developers@meridian.example"])
    error_message = jsonencode(output.operators)
  }
}

run "refuses_what_is_not_sound" {
  command = plan
  variables {
    file = "./tests/fixtures/broken.yaml"
  }

  expect_failures = [output.parent, output.delivery]
}

run "refuses_a_file_that_is_no_map" {
  command = plan
  variables {
    file = "./tests/fixtures/list.yaml"
  }

  expect_failures = [var.file]
}
