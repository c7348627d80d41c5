variable "file" {
  description = "The file platform.yaml."
  type        = string

  validation {
    condition     = can(keys(yamldecode(file(var.file))))
    error_message = "${var.file}: found no map of keys; allowed is YAML, as terraform/platform.yaml has it."
  }
}
