package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// The provider's part of the file: its own configuration, and a schema for each type of resource and data source.
type providerSchema struct {
	Provider    resourceSchema            `json:"provider"`
	Resources   map[string]resourceSchema `json:"resource_schemas"`
	DataSources map[string]resourceSchema `json:"data_source_schemas"`
}

type resourceSchema struct {
	Version int64 `json:"version"`
	Block   block `json:"block"`
}

type block struct {
	Attributes map[string]attribute   `json:"attributes"`
	Blocks     map[string]nestedBlock `json:"block_types"`
}

type attribute struct {
	// Type is a type constraint in Terraform's JSON form: "string", ["list", "string"], ["object", {…}].
	Type     json.RawMessage `json:"type"`
	Required bool            `json:"required"`
	Optional bool            `json:"optional"`
	Computed bool            `json:"computed"`
}

type nestedBlock struct {
	Nesting string `json:"nesting_mode"`
	Min     int64  `json:"min_items"`
	Max     int64  `json:"max_items"`
	Block   block  `json:"block"`
}

// readSchema gives the provider's schema as the protocol has it.
func readSchema(path string) (*tfprotov5.GetProviderSchemaResponse, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Providers map[string]providerSchema `json:"provider_schemas"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	read, found := file.Providers[source]
	if !found {
		return nil, fmt.Errorf("it has no provider %s", source)
	}
	out := &tfprotov5.GetProviderSchemaResponse{
		ResourceSchemas: map[string]*tfprotov5.Schema{}, DataSourceSchemas: map[string]*tfprotov5.Schema{},
	}
	if out.Provider, err = read.Provider.protocol(); err != nil {
		return nil, fmt.Errorf("provider: %w", err)
	}
	for name, resource := range read.Resources {
		if out.ResourceSchemas[name], err = resource.protocol(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, data := range read.DataSources {
		if out.DataSourceSchemas[name], err = data.protocol(); err != nil {
			return nil, fmt.Errorf("data source %s: %w", name, err)
		}
	}
	return out, nil
}

func (r resourceSchema) protocol() (*tfprotov5.Schema, error) {
	converted, err := r.Block.protocol()
	return &tfprotov5.Schema{Version: r.Version, Block: converted}, err
}

func (b block) protocol() (*tfprotov5.SchemaBlock, error) {
	out := &tfprotov5.SchemaBlock{}
	for _, name := range slices.Sorted(maps.Keys(b.Attributes)) {
		a := b.Attributes[name]
		// The one reader of this form that the library has; it is deprecated, and there is no other.
		kind, err := tftypes.ParseJSONType(a.Type) //nolint:staticcheck
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out.Attributes = append(out.Attributes, &tfprotov5.SchemaAttribute{
			Name: name, Type: kind, Required: a.Required, Optional: a.Optional, Computed: a.Computed,
		})
	}
	nesting := map[string]tfprotov5.SchemaNestedBlockNestingMode{
		"list":   tfprotov5.SchemaNestedBlockNestingModeList,
		"set":    tfprotov5.SchemaNestedBlockNestingModeSet,
		"single": tfprotov5.SchemaNestedBlockNestingModeSingle,
	}
	for _, name := range slices.Sorted(maps.Keys(b.Blocks)) {
		n := b.Blocks[name]
		mode, known := nesting[n.Nesting]
		if !known {
			return nil, fmt.Errorf("%s: nesting mode %q is not one of list, set, single", name, n.Nesting)
		}
		inner, err := n.Block.protocol()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out.BlockTypes = append(out.BlockTypes, &tfprotov5.SchemaNestedBlock{
			TypeName: name, Nesting: mode, MinItems: n.Min, MaxItems: n.Max, Block: inner,
		})
	}
	return out, nil
}
