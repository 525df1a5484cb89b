// SPDX-License-Identifier: BSD-2-Clause

//go:build tools

// Which programs of containerd build.sh builds: a module of its own, since it requires other versions of what Kubernetes
// uses.
package tools

import (
	_ "github.com/containerd/containerd/v2/cmd/containerd"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
	_ "github.com/containerd/containerd/v2/cmd/ctr"
)
