variable "folder" {
  description = <<-EOT
    Folder of the environment in the catalogue. Its name is the environment's;
    the folders beside it are the other environments.
  EOT
  type        = string

  validation {
    condition     = fileexists("${var.folder}/_environment.yaml")
    error_message = ".: found no _environment.yaml; allowed _environment.yaml in the folder of each environment"
  }
}
