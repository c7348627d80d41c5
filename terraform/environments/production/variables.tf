variable "removing" {
  description = <<-EOT
    Names of regions whose clusters may be destroyed. To remove a region: apply
    with its name here, delete its file from the catalogue, apply again.
  EOT
  type        = set(string)
  default     = []

  validation {
    condition = length(setsubtract(
      var.removing, keys(module.catalogue.regions)
    )) == 0
    error_message = "removing names ${join(", ", setsubtract(var.removing, keys(module.catalogue.regions)))}; the catalogue has ${join(", ", keys(module.catalogue.regions))}."
  }
}
