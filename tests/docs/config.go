package docs

import (
	"errors"
	"fmt"
	"slices"

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

// japanese are the keys' descriptions in README.ja.md; the English ones are in
// Pulumi.yaml.
var japanese = map[string]string{
	"cluster":           "ラボを動かす場所。kind（この Docker 上のスタック専用クラスター）または existing（クラスで共有する既存のクラスター）",
	"workers":           "コントロールプレーン 1 台のほかに作るワーカーノードの数。0〜10（変更するとクラスターを作り直す）",
	"replicas":          "echo アプリの Pod の数。0〜100",
	"serviceType":       "echo アプリの Service の種類。ClusterIP、NodePort、LoadBalancer のいずれか",
	"nodePort":          "serviceType が NodePort のときに各ノードで開くポート。30000〜32767",
	"hostPort":          "nodePort につながる 127.0.0.1 側のポート。1〜65535、0 なら開かない（変更するとクラスターを作り直す）",
	"monitoring":        "第 4 章（node-exporter、RBAC、Prometheus）を含めるかどうか。true または false",
	"scrapeInterval":    "Prometheus がメトリクスを集める間隔。1s〜5m",
	"edition":           "イメージの組。course（本文どおり）または current（現在サポートされているもの）",
	"nodeImage":         "edition の代わりに使う kind のノードイメージ（変更するとクラスターを作り直す）",
	"echoImage":         "edition の代わりに使う echo アプリのイメージ",
	"prometheusImage":   "edition の代わりに使う Prometheus のイメージ",
	"nodeExporterImage": "edition の代わりに使う node-exporter のイメージ",
	"rolloutTimeout":    "up が各ワークロードの Pod の準備完了を待つ時間。10s〜1h（回線が遅いときは長くする）",
	"role":              "既存のクラスターでのスタックの役割。platform（クラス全体で 1 つ）または student（受講者）。kind では all",
	"kubeContext":       "既存のクラスターのコンテキスト名",
	"kubeconfigPath":    "既存のクラスターの kubeconfig のパス。空なら kubectl と同じ規則で探す",
	"quotaPods":         "既存のクラスターの名前空間に置ける Pod の数。4〜200",
	"quotaCPU":          "既存のクラスターの名前空間で使える CPU の上限。2〜100",
	"quotaMemory":       "既存のクラスターの名前空間で使えるメモリの上限。1Gi〜1Ti",
	"tokenLifetime":     "既存のクラスターで受講者の kubeconfig が有効な時間。10m〜720h",
}

// Config renders the table of all configuration keys, in the order of
// settings.Keys. A key without a description in the language is an error, and
// so is a description without a key.
func Config(lang Language, pulumiYAML []byte) (string, error) {
	declared, err := ProjectKeys(pulumiYAML)
	if err != nil {
		return "", err
	}
	var errs []error
	var rows [][]string
	for _, k := range settings.Keys {
		description := lang.Pick(declared[k.Name].Description, japanese[k.Name])
		if description == "" {
			errs = append(errs, fmt.Errorf("key %s has no description", k.Name))
		}
		rows = append(rows, []string{Code(k.Name), k.Type, Code(k.Default), description})
	}
	for name := range japanese {
		if !slices.ContainsFunc(settings.Keys, func(k settings.Key) bool { return k.Name == name }) {
			errs = append(errs, fmt.Errorf("the Japanese description of %s is of no key", name))
		}
	}
	if len(errs) > 0 {
		return "", errors.Join(errs...)
	}
	header := []string{"Key", "Type", "Default", "What it is"}
	if lang == Japanese {
		header = []string{"キー", "型", "既定値", "意味"}
	}
	return Table(header, rows), nil
}
