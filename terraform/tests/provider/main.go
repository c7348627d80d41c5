// A provider that knows the google provider's schema and no cloud. With it the real Terraform validates, plans, tests
// and applies to a state file offline: unknown arguments, wrong types and missing arguments are refused as ever.
//
// It reads the schema from the file that PROVIDER_SCHEMA names, in the form of `terraform providers schema -json`.
package main

import (
	"fmt"
	"os"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"
)

const source = "registry.terraform.io/hashicorp/google"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "terraform-provider-google (schema only):", err)
		os.Exit(1)
	}
}

func run() error {
	path := os.Getenv("PROVIDER_SCHEMA")
	if path == "" {
		return fmt.Errorf("PROVIDER_SCHEMA is not set; it names the schema file, see terraform/tests/README.md")
	}
	schema, err := readSchema(path)
	if err != nil {
		return fmt.Errorf("reading the schema %s: %w", path, err)
	}
	return tf5server.Serve(source, func() tfprotov5.ProviderServer { return &server{schema: schema} })
}
