package main

import (
	"fmt"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// visit is called for each attribute of a block, nested blocks included, and gives its new value.
type visit func(*tfprotov5.SchemaAttribute, tftypes.Value) tftypes.Value

// rewrite gives `value`, which is of `block`, with each attribute as `each` makes it.
func rewrite(block *tfprotov5.SchemaBlock, value tftypes.Value, each visit) (tftypes.Value, error) {
	if value.IsNull() || !value.IsKnown() {
		return value, nil
	}
	members := map[string]tftypes.Value{}
	if err := value.As(&members); err != nil {
		return value, err
	}
	for _, attribute := range block.Attributes {
		members[attribute.Name] = each(attribute, members[attribute.Name])
	}
	for _, nested := range block.BlockTypes {
		inner, err := rewriteNested(nested, members[nested.TypeName], each)
		if err != nil {
			return value, fmt.Errorf("%s: %w", nested.TypeName, err)
		}
		members[nested.TypeName] = inner
	}
	return tftypes.NewValue(value.Type(), members), nil
}

func rewriteNested(nested *tfprotov5.SchemaNestedBlock, value tftypes.Value, each visit) (tftypes.Value, error) {
	if nested.Nesting == tfprotov5.SchemaNestedBlockNestingModeSingle {
		return rewrite(nested.Block, value, each)
	}
	if value.IsNull() || !value.IsKnown() {
		return value, nil
	}
	var items []tftypes.Value
	if err := value.As(&items); err != nil {
		return value, err
	}
	for index, item := range items {
		inner, err := rewrite(nested.Block, item, each)
		if err != nil {
			return value, err
		}
		items[index] = inner
	}
	return tftypes.NewValue(value.Type(), items), nil
}

// unknown is what a plan to create shows for what the provider fills in.
func unknown(attribute *tfprotov5.SchemaAttribute, value tftypes.Value) tftypes.Value {
	if attribute.Computed && value.IsNull() {
		return tftypes.NewValue(attribute.Type, tftypes.UnknownValue)
	}
	return value
}

// placeholders is what "known after apply" becomes here.
func placeholders(prefix string) visit {
	return func(attribute *tfprotov5.SchemaAttribute, value tftypes.Value) tftypes.Value {
		if value.IsFullyKnown() {
			return value
		}
		if attribute.Optional && attribute.Name != "id" {
			return tftypes.NewValue(attribute.Type, nil)
		}
		return placeholder(attribute.Type, prefix+"/"+attribute.Name)
	}
}

// placeholder is a text that says what it stands for, zero, false, a list of one object of such, or nothing.
func placeholder(of tftypes.Type, text string) tftypes.Value {
	switch kind := of.(type) {
	case tftypes.List:
		object, is := kind.ElementType.(tftypes.Object)
		if !is {
			break
		}
		members := map[string]tftypes.Value{}
		for name, inner := range object.AttributeTypes {
			members[name] = placeholder(inner, text+"/"+name)
		}
		return tftypes.NewValue(of, []tftypes.Value{tftypes.NewValue(object, members)})
	default:
		switch {
		case of.Is(tftypes.String):
			return tftypes.NewValue(of, text)
		case of.Is(tftypes.Number):
			return tftypes.NewValue(of, 0)
		case of.Is(tftypes.Bool):
			return tftypes.NewValue(of, false)
		}
	}
	return tftypes.NewValue(of, nil)
}

// label gives the name that a resource's placeholders carry.
func label(resource string, value tftypes.Value) string {
	members := map[string]tftypes.Value{}
	if value.IsNull() || value.As(&members) != nil {
		return resource
	}
	for _, name := range []string{"name", "account_id", "service", "project_id", "role"} {
		var text string
		if member, found := members[name]; found && member.IsKnown() && !member.IsNull() && member.As(&text) == nil {
			return resource + "/" + text
		}
	}
	return resource
}
