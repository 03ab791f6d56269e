package docs

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"k8sbootcamp/components/settings"
)

// ProjectKey is one key as Pulumi.yaml declares it.
type ProjectKey struct {
	Type        string `yaml:"type"`
	Default     any    `yaml:"default"`
	Description string `yaml:"description"`
}

// ProjectKeys reads the keys that a Pulumi.yaml declares.
func ProjectKeys(pulumiYAML []byte) (map[string]ProjectKey, error) {
	var project struct {
		Config map[string]ProjectKey `yaml:"config"`
	}
	if err := yaml.Unmarshal(pulumiYAML, &project); err != nil {
		return nil, fmt.Errorf("in Pulumi.yaml: %w", err)
	}
	return project.Config, nil
}

// Config renders the table of all configuration keys, in the order of
// settings.Keys, with the descriptions that each has in the language.
func Config(lang Language, descriptions map[string]string) string {
	rows := make([][]string, len(settings.Keys))
	for i, k := range settings.Keys {
		rows[i] = []string{Code(k.Name), k.Type, Code(k.Default), descriptions[k.Name]}
	}
	header := []string{"Key", "Type", "Default", "What it is"}
	if lang == Japanese {
		header = []string{"キー", "型", "既定値", "意味"}
	}
	return Table(header, rows)
}

// Descriptions reads those of a table that Config rendered, by key. The Japanese
// ones are written in README.ja.md, and nowhere else; Pulumi.yaml has the English.
func Descriptions(table string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(table) {
		cells := Cells(line)
		if len(cells) == 4 {
			found[strings.Trim(cells[0], "`")] = cells[3]
		}
	}
	return found
}
