// Evaluates expressions as Workload Identity Federation does: in the Common Expression Language, over the claims of a
// token. Reads JSON from standard input, {"expressions": {NAME: TEXT}, "tokens": [CLAIMS]}, and writes for each token
// {NAME: VALUE}, or {NAME: {"error": TEXT}} where an expression has no value, as for a claim that is missing.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"
)

type request struct {
	Expressions map[string]string `json:"expressions"`
	Tokens      []map[string]any  `json:"tokens"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "cel:", err)
		os.Exit(1)
	}
}

func run() error {
	var asked request
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	environment, err := cel.NewEnv(cel.Variable("assertion", cel.MapType(cel.StringType, cel.DynType)))
	if err != nil {
		return err
	}
	programs := map[string]cel.Program{}
	for name, text := range asked.Expressions {
		checked, issues := environment.Compile(text)
		if issues.Err() != nil {
			return fmt.Errorf("%s: %w", name, issues.Err())
		}
		if programs[name], err = environment.Program(checked); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	answers := []map[string]any{}
	for _, claims := range asked.Tokens {
		answer := map[string]any{}
		for name, program := range programs {
			value, _, err := program.Eval(map[string]any{"assertion": claims})
			answer[name] = plain(value, err)
		}
		answers = append(answers, answer)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func plain(value ref.Val, err error) any {
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	return value.Value()
}
