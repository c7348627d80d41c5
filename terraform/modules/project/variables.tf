variable "project" {
  description = "Id of the Google project."
  type        = string
}

variable "name" {
  description = "Name of what it is for: an environment, or delivery."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", var.name))
    error_message = "name is `${var.name}`; allowed is a small letter, then small letters, digits and hyphens, at most 40, no hyphen at the end."
  }
}

variable "parent" {
  description = "Where the project is made: organizations/NUMBER or folders/NUMBER."
  type        = string

  validation {
    condition     = can(regex("^(organizations|folders)/[0-9]+$", var.parent))
    error_message = "parent is `${var.parent}`; allowed is organizations/NUMBER or folders/NUMBER."
  }
}

variable "billing_account" {
  description = "The account that is billed."
  type        = string
}

variable "location" {
  description = "Google region of the state."
  type        = string
}

variable "labels" {
  description = "Labels of the project and of what is made in it."
  type        = map(string)
}

variable "services" {
  description = "Interfaces that are switched on beside those that Terraform itself needs."
  type        = set(string)
  default     = []
}

variable "account" {
  description = "Id of the account that applies Terraform."
  type        = string
  default     = "terraform"
}

variable "roles" {
  description = "What that account may do in the project, beside reading and writing its state."
  type        = set(string)

  validation {
    condition = length(setintersection(var.roles, [
      "roles/owner", "roles/editor", "roles/viewer",
      "roles/iam.serviceAccountUser", "roles/iam.serviceAccountTokenCreator",
    ])) == 0
    error_message = "roles has a basic role, or one that acts as every account of the project; allowed are roles of single services."
  }
}

variable "operators" {
  description = "Who may act as that account."
  type        = set(string)
}
