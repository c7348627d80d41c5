// Command vault is HashiCorp Vault itself, built from its published Go module so that a machine
// that can reach a Go module proxy needs no other download. It is used in development and tests
// only: Vault is licensed BUSL-1.1 and nothing of it ships in our images.
//
// It is built with Vault's own tag `minimal`, which leaves out the plugins and storage of many
// clouds and with them half of the compiling, and has one plugin more: Kubernetes auth, which
// that tag leaves out too.
package main

import (
	"os"
	"reflect"
	"unsafe"

	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	"github.com/hashicorp/vault/command"
	"github.com/hashicorp/vault/helper/builtinplugins"
	"github.com/hashicorp/vault/sdk/logical"
)

// Vault has no public way to add a plugin to those that are compiled in: its table of them is an
// unexported field, so it is reached by its name. Where a later Vault calls it otherwise, this
// panics at every start, before anything is served.
func init() {
	field := reflect.ValueOf(builtinplugins.Registry).Elem().FieldByName("credentialBackends")
	known := reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
	backend := reflect.New(known.Type().Elem()).Elem()
	backend.FieldByName("Factory").Set(reflect.ValueOf(logical.Factory(kubernetes.Factory)))
	known.SetMapIndex(reflect.ValueOf("kubernetes"), backend)
}

func main() {
	os.Exit(command.Run(os.Args[1:]))
}
