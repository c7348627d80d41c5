// Reads alerting rules with Prometheus' own parser and evaluates them with its own engine, over series that a test
// writes down. JSON comes in by standard input and goes out by standard output:
//
//	{"rules": "<a rule file>", "cases": [{"name": "…", "step": "30s", "until": "40m", "series": ["<name{labels} values>"]}]}
//	{"metrics": [{"name", "labels", "matchers"}], "alerts": {"<case>": [{"<label>": "<value>"}]}}
//
// It ends with 1 and what is wrong when a rule cannot be read or evaluated.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

type input struct {
	Rules string
	Cases []scenario
}

type scenario struct {
	Name   string
	Step   string
	Until  string
	Series []string
}

// A metric that an expression reads, with the labels that it names.
type metric struct {
	Name     string            `json:"name"`
	Labels   []string          `json:"labels"`
	Matchers map[string]string `json:"matchers"`
}

type output struct {
	Metrics []metric                       `json:"metrics"`
	Alerts  map[string][]map[string]string `json:"alerts"`
}

func main() {
	made, err := run()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(made)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() (output, error) {
	var in input
	made := output{Alerts: map[string][]map[string]string{}}
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		return made, fmt.Errorf("read standard input: %w", err)
	}
	language := parser.NewParser(parser.Options{})
	groups, problems := rulefmt.Parse([]byte(in.Rules), false, model.LegacyValidation, language, promslog.NewNopLogger())
	if len(problems) > 0 {
		return made, fmt.Errorf("read the rules: %w", errors.Join(problems...))
	}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			found, err := metrics(language, rule.Expr)
			if err != nil {
				return made, fmt.Errorf("%s: %w", rule.Alert, err)
			}
			made.Metrics = append(made.Metrics, found...)
		}
	}
	folder, err := os.MkdirTemp("", "meridian-rules.")
	if err != nil {
		return made, err
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "rules.yaml")
	if err := os.WriteFile(file, []byte(in.Rules), 0o600); err != nil {
		return made, err
	}
	for _, one := range in.Cases {
		if made.Alerts[one.Name], err = firing(language, file, one); err != nil {
			return made, fmt.Errorf("case %q: %w", one.Name, err)
		}
	}
	return made, nil
}

// The metrics that an expression reads, each with the labels that it is matched on, and grouped or joined by.
func metrics(language parser.Parser, text string) ([]metric, error) {
	expression, err := language.ParseExpr(text)
	if err != nil {
		return nil, err
	}
	var found []metric
	parser.Inspect(expression, func(node parser.Node, above []parser.Node) error {
		selector, is := node.(*parser.VectorSelector)
		if !is {
			return nil
		}
		one := metric{Name: selector.Name, Matchers: map[string]string{}}
		for _, matcher := range selector.LabelMatchers {
			if matcher.Name != labels.MetricName {
				one.Matchers[matcher.Name] = matcher.Value
			}
		}
		one.Labels = slices.Collect(maps.Keys(one.Matchers))
		for _, outer := range above {
			switch outer := outer.(type) {
			case *parser.AggregateExpr:
				one.Labels = append(one.Labels, outer.Grouping...)
			case *parser.BinaryExpr:
				if outer.VectorMatching != nil {
					one.Labels = append(one.Labels, outer.VectorMatching.MatchingLabels...)
				}
			}
		}
		slices.Sort(one.Labels)
		one.Labels = slices.Compact(one.Labels)
		found = append(found, one)
		return nil
	})
	return found, nil
}

// The alerts that fire at the end of a case, evaluated at every step from its beginning.
func firing(language parser.Parser, file string, one scenario) ([]map[string]string, error) {
	step, err := model.ParseDuration(one.Step)
	if err != nil {
		return nil, err
	}
	until, err := model.ParseDuration(one.Until)
	if err != nil {
		return nil, err
	}
	load := "load " + one.Step + "\n  " + strings.Join(one.Series, "\n  ") + "\n"
	options := promqltest.LazyLoaderOpts{EnableAtModifier: true, EnableNegativeOffset: true}
	suite, err := promqltest.NewLazyLoader(load, options)
	if err != nil {
		return nil, err
	}
	defer suite.Close()
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc:  rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()),
		Appendable: suite.Storage(),
		Context:    context.Background(),
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {},
		Logger:     promslog.NewNopLogger(),
		Parser:     language,
	})
	groups, problems := manager.LoadGroups(time.Duration(step), labels.EmptyLabels(), "", nil, false, file)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	begin := time.Unix(0, 0).UTC()
	for at := begin; !at.After(begin.Add(time.Duration(until))); at = at.Add(time.Duration(step)) {
		var problem error
		suite.WithSamplesTill(at, func(err error) {
			problem = err
			for _, group := range groups {
				group.Eval(suite.Context(), at)
				for _, rule := range group.Rules() {
					problem = errors.Join(problem, rule.LastError())
				}
			}
		})
		if problem != nil {
			return nil, problem
		}
	}
	made := []map[string]string{}
	for _, group := range groups {
		for _, rule := range group.Rules() {
			alerting, is := rule.(*rules.AlertingRule)
			if !is {
				continue
			}
			for _, alert := range alerting.ActiveAlerts() {
				if alert.State == rules.StateFiring {
					said := alert.Labels.Map()
					for key, value := range alert.Annotations.Map() {
						said["annotation:"+key] = value
					}
					made = append(made, said)
				}
			}
		}
	}
	return made, nil
}
