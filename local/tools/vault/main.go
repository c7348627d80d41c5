// Command vault is HashiCorp Vault itself, built from its published Go module so that a machine
// that can reach a Go module proxy needs no other download. It is used in development and tests
// only: Vault is licensed BUSL-1.1 and nothing of it ships in our images.
package main

import (
	"os"

	"github.com/hashicorp/vault/command"
)

func main() {
	os.Exit(command.Run(os.Args[1:]))
}
