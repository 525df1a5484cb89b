// SPDX-License-Identifier: BSD-2-Clause

// Reads a cluster's configuration as kind does: into kind's own types, without unknown fields, with its defaults;
// prints it as JSON.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

func read(path string) (*v1alpha4.Cluster, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	cluster := &v1alpha4.Cluster{}
	if err := decoder.Decode(cluster); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if cluster.APIVersion != "kind.x-k8s.io/v1alpha4" || cluster.Kind != "Cluster" {
		return nil, fmt.Errorf("%s: %s %s is not what this kind reads", path, cluster.APIVersion, cluster.Kind)
	}
	v1alpha4.SetDefaultsCluster(cluster)
	return cluster, nil
}

func main() {
	cluster, err := read(os.Args[1])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(cluster)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
