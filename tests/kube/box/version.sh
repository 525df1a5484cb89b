#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# version.sh VERSION (1.34.4): writes go.mod and go.sum anew, for another version of Kubernetes. Both are kept in the
# tree.
#
# Kubernetes replaces its own libraries by directories of its tree, which a dependency's go.mod cannot do and its module
# does not contain: they are required as the modules that they are published as.
#
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
rm -f go.mod go.sum
theirs=$(go mod download -json "k8s.io/kubernetes@v$1" | jq -r .GoMod)
go mod edit -json "$theirs" | jq -r --arg version "$1" '
	[.Replace[] | select(.New.Path | startswith("./staging/")).Old.Path] as $own |
	($version | sub("^1"; "v0")) as $library |
	(.Require | map({(.Path): .Version}) | add) as $require |
	"// Written by version.sh.", "module warren.example/kube", "", "go \(.Go)", "",
	(.Godebug // [] | .[] | "godebug \(.Key)=\(.Value)"),
	"tool k8s.io/kubernetes/test/images/agnhost", "tool github.com/onsi/ginkgo/v2/ginkgo",
	"require k8s.io/kubernetes v\($version)",
	"require go.etcd.io/etcd/server/v3 \($require["go.etcd.io/etcd/client/v3"])",
	($own[] | select($require[.]) | "require \(.) \($library)"),
	($own[] | "replace \(.) => \(.) \($library)"),
	(.Replace[] | select(.New.Path | startswith("./") | not) | "replace \(.Old.Path) => \(.New.Path) \(.New.Version // "")")
' >go.mod
go mod tidy
