package main

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

type server struct {
	schema *tfprotov5.GetProviderSchemaResponse
}

func (s *server) GetMetadata(context.Context, *tfprotov5.GetMetadataRequest) (*tfprotov5.GetMetadataResponse, error) {
	out := &tfprotov5.GetMetadataResponse{}
	for name := range s.schema.ResourceSchemas {
		out.Resources = append(out.Resources, tfprotov5.ResourceMetadata{TypeName: name})
	}
	for name := range s.schema.DataSourceSchemas {
		out.DataSources = append(out.DataSources, tfprotov5.DataSourceMetadata{TypeName: name})
	}
	return out, nil
}

func (s *server) GetProviderSchema(context.Context, *tfprotov5.GetProviderSchemaRequest) (*tfprotov5.GetProviderSchemaResponse, error) {
	return s.schema, nil
}

func (s *server) PrepareProviderConfig(_ context.Context, r *tfprotov5.PrepareProviderConfigRequest) (*tfprotov5.PrepareProviderConfigResponse, error) {
	return &tfprotov5.PrepareProviderConfigResponse{PreparedConfig: r.Config}, nil
}

// ValidateResourceTypeConfig refuses values for what only the provider sets, as the plugin SDK of the real one does:
// Terraform itself leaves this to providers.
func (s *server) ValidateResourceTypeConfig(_ context.Context, r *tfprotov5.ValidateResourceTypeConfigRequest) (*tfprotov5.ValidateResourceTypeConfigResponse, error) {
	schema, err := s.resource(r.TypeName)
	if err != nil {
		return nil, err
	}
	config, err := r.Config.Unmarshal(schema.ValueType())
	if err != nil {
		return nil, fmt.Errorf("configuration of %s: %w", r.TypeName, err)
	}
	out := &tfprotov5.ValidateResourceTypeConfigResponse{}
	_, err = rewrite(schema.Block, config, func(attribute *tfprotov5.SchemaAttribute, value tftypes.Value) tftypes.Value {
		if attribute.Computed && !attribute.Optional && !value.IsNull() {
			out.Diagnostics = append(out.Diagnostics, &tfprotov5.Diagnostic{
				Severity: tfprotov5.DiagnosticSeverityError,
				Summary:  "Value for unconfigurable attribute",
				Detail: fmt.Sprintf("Can't configure a value for %q: its value will be decided automatically based on the result of "+
					"applying this configuration.", attribute.Name),
			})
		}
		return value
	})
	return out, err
}

// PlanResourceChange plans what Terraform proposes; what only the cloud could tell is unknown until it is created.
func (s *server) PlanResourceChange(_ context.Context, r *tfprotov5.PlanResourceChangeRequest) (*tfprotov5.PlanResourceChangeResponse, error) {
	schema, err := s.resource(r.TypeName)
	if err != nil {
		return nil, err
	}
	prior, err := r.PriorState.Unmarshal(schema.ValueType())
	if err != nil {
		return nil, fmt.Errorf("prior state of %s: %w", r.TypeName, err)
	}
	planned, err := r.ProposedNewState.Unmarshal(schema.ValueType())
	if err != nil {
		return nil, fmt.Errorf("proposed state of %s: %w", r.TypeName, err)
	}
	if prior.IsNull() {
		if planned, err = rewrite(schema.Block, planned, unknown); err != nil {
			return nil, fmt.Errorf("planning %s: %w", r.TypeName, err)
		}
	}
	value, err := tfprotov5.NewDynamicValue(schema.ValueType(), planned)
	return &tfprotov5.PlanResourceChangeResponse{PlannedState: &value}, err
}

// ApplyResourceChange makes nothing: the planned state with placeholders becomes the state.
func (s *server) ApplyResourceChange(_ context.Context, r *tfprotov5.ApplyResourceChangeRequest) (*tfprotov5.ApplyResourceChangeResponse, error) {
	schema, err := s.resource(r.TypeName)
	if err != nil {
		return nil, err
	}
	planned, err := r.PlannedState.Unmarshal(schema.ValueType())
	if err != nil {
		return nil, fmt.Errorf("planned state of %s: %w", r.TypeName, err)
	}
	made, err := rewrite(schema.Block, planned, placeholders(label(r.TypeName, planned)))
	if err != nil {
		return nil, fmt.Errorf("applying %s: %w", r.TypeName, err)
	}
	value, err := tfprotov5.NewDynamicValue(schema.ValueType(), made)
	return &tfprotov5.ApplyResourceChangeResponse{NewState: &value}, err
}

func (s *server) ReadResource(_ context.Context, r *tfprotov5.ReadResourceRequest) (*tfprotov5.ReadResourceResponse, error) {
	return &tfprotov5.ReadResourceResponse{NewState: r.CurrentState}, nil
}

// ReadDataSource finds what was asked for, with placeholders for what the cloud would tell.
func (s *server) ReadDataSource(_ context.Context, r *tfprotov5.ReadDataSourceRequest) (*tfprotov5.ReadDataSourceResponse, error) {
	schema, found := s.schema.DataSourceSchemas[r.TypeName]
	if !found {
		return nil, fmt.Errorf("the schema file has no data source %s; generate it again", r.TypeName)
	}
	config, err := r.Config.Unmarshal(schema.ValueType())
	if err != nil {
		return nil, fmt.Errorf("configuration of data source %s: %w", r.TypeName, err)
	}
	read, err := rewrite(schema.Block, config, unknown)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.TypeName, err)
	}
	if read, err = rewrite(schema.Block, read, placeholders(label(r.TypeName, config))); err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.TypeName, err)
	}
	value, err := tfprotov5.NewDynamicValue(schema.ValueType(), read)
	return &tfprotov5.ReadDataSourceResponse{State: &value}, err
}

func (s *server) UpgradeResourceState(_ context.Context, r *tfprotov5.UpgradeResourceStateRequest) (*tfprotov5.UpgradeResourceStateResponse, error) {
	schema, err := s.resource(r.TypeName)
	if err != nil {
		return nil, err
	}
	state, err := r.RawState.UnmarshalWithOpts(schema.ValueType(), tfprotov5.UnmarshalOpts{
		ValueFromJSONOpts: tftypes.ValueFromJSONOpts{IgnoreUndefinedAttributes: true},
	})
	if err != nil {
		return nil, fmt.Errorf("stored state of %s: %w", r.TypeName, err)
	}
	value, err := tfprotov5.NewDynamicValue(schema.ValueType(), state)
	return &tfprotov5.UpgradeResourceStateResponse{UpgradedState: &value}, err
}

func (s *server) resource(name string) (*tfprotov5.Schema, error) {
	schema, found := s.schema.ResourceSchemas[name]
	if !found {
		return nil, fmt.Errorf("the schema file has no %s; generate it again", name)
	}
	return schema, nil
}
