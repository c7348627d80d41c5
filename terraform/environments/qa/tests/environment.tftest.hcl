# Needs no credentials: nothing of Google is called. This file is the same in
# every environment.
mock_provider "google" {}

run "makes_each_region_of_the_catalogue" {
  command = plan

  assert {
    condition = toset(keys(output.regions)) == toset([
      for file in fileset("../../../regions/catalogue/${basename(abspath(path.module))}", "[a-z]*.yaml") :
      trimsuffix(file, ".yaml")
    ])
    error_message = jsonencode(keys(output.regions))
  }
  assert {
    condition     = keys(output.vault_values) == keys(output.regions)
    error_message = "a region whose Vault runs in its cluster has values for it"
  }
}

run "names_the_contexts_of_its_own_jobs" {
  # Accounts are known once applied.
  command = apply

  assert {
    condition = alltrue([
      for context in keys(output.contexts) :
      can(regex("^meridian-${basename(abspath(path.module))}(-|$)", context))
    ]) && length(output.contexts) > 0
    error_message = jsonencode(keys(output.contexts))
  }
}

run "refuses_to_remove_a_region_that_is_not_there" {
  command = plan
  variables {
    removing = ["nowhere"]
  }

  expect_failures = [var.removing]
}
