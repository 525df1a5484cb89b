#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# node.sh NAME ADDRESSES IMAGE...: the first process of a node of `cluster`: containerd, the kubelet and, on request, kube-proxy.
# When it ends, everything of the node does but its disk.
#
# shellcheck disable=SC2154 # KUBE, CNI, PROXY, FAMILIES, POD_CIDRS, APIS, WARREN_BUILD and KUBELET_FLAGS are exported by `cluster`
set -eu

name=$1 addresses=$2
shift 2
home=/run/kube
pki=$home/pki
bin=$KUBE/bin
hierarchies=$(awk -F: '$2 != "" { print $2 }' /proc/self/cgroup) # of version 1: cpu, memory, name=systemd, ...

# --- file systems ----------------------------------------------------------------------------------------------------------

mount --make-rprivate /
hostname "$name"
# The process that others find the node by; its number is the holder's.
read -r pid _ </proc/self/stat
echo "$pid" >$home/"$name".pid
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null || true
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
for hierarchy in $hierarchies; do
	dir=/sys/fs/cgroup/${hierarchy#name=}
	mkdir -p "$dir"
	case $hierarchy in
	name=*) mount -t cgroup -o "none,$hierarchy" cgroup "$dir" ;;
	*) mount -t cgroup -o "$hierarchy" cgroup "$dir" ;;
	esac
done
mkdir /sys/fs/cgroup/unified
mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified

# The cluster's directory stays to be seen in the node's own /run.
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir -p /mnt/kube
mount --rbind $home /mnt/kube
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns $home
mount --move /mnt/kube $home
umount /mnt
disk=$home/disk/$name
mkdir -p "$disk"/{etc,opt,var}/{upper,work}
for dir in etc opt var; do
	mount -t overlay -o "lowerdir=/$dir,upperdir=$disk/$dir/upper,workdir=$disk/$dir/work" node "/$dir"
done
# containerd's snapshots are overlays themselves, whose upper directories cannot be on one; and nothing of this machine's is there.
for dir in /var/lib/containerd /var/lib/kubelet /var/log /etc/cni /opt/cni /var/lib/cni /var/lib/warren; do
	mkdir -p "$dir" "$disk$dir"
	mount --bind "$disk$dir" "$dir"
done
mkdir -p /opt/cni/bin /etc/cni/net.d
for plugin in /usr/lib/cni/*; do ln -sf "$plugin" /opt/cni/bin/; done # containerd always calls "loopback"
: >/etc/resolv.node

# The kubelet requires these values, and would set them for the whole machine.
while read -r key value; do
	mkdir -p "/run/sysctl/${key%/*}"
	echo "$value" >"/run/sysctl/$key"
	mount --bind "/run/sysctl/$key" "/proc/sys/$key"
done <<-END
	vm/overcommit_memory 1
	vm/panic_on_oom 0
	kernel/panic 10
	kernel/panic_on_oops 1
	kernel/keys/root_maxkeys 1000000
	kernel/keys/root_maxbytes 25000000
END
mount --make-rshared / # the kubelet passes mounts on in both directions
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1

# --- programs --------------------------------------------------------------------------------------------------------------

# No capability to lower oom_score_adj; no AppArmor; no snapshotter but overlayfs.
cat >/etc/containerd.toml <<-TOML
	version = 2
	oom_score = 0
	disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
	  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper",
	  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
	[plugins."io.containerd.grpc.v1.cri"]
	  sandbox_image = "warren.example/pause:1"
	  restrict_oom_score_adj = true
	  disable_apparmor = true
	  [plugins."io.containerd.grpc.v1.cri".containerd]
	    snapshotter = "overlayfs"
	    default_runtime_name = "runc"
	    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
	      runtime_type = "io.containerd.runc.v2"
	      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
	        SystemdCgroup = false
TOML
cat >/etc/kubelet.yaml <<-YAML
	apiVersion: kubelet.config.k8s.io/v1beta1
	kind: KubeletConfiguration
	failCgroupV1: false
	cgroupDriver: cgroupfs
	failSwapOn: false
	featureGates: { KubeletInUserNamespace: true } # what needs more rights than there are is a warning
	oomScoreAdj: 0
	maxOpenFiles: 20000
	containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
	authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: $pki/ca.crt } }
	authorization: { mode: Webhook }
	tlsCertFile: $pki/$name.crt
	tlsPrivateKeyFile: $pki/$name.key
	resolvConf: /etc/resolv.node
	clusterDNS: ["$([ "$FAMILIES" = 6 ] && echo fd96::a || echo 10.96.0.10)"]
	clusterDomain: cluster.local
	volumePluginDir: /var/lib/kubelet/volumeplugins
	evictionHard: { memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1% }
	enforceNodeAllocatable: [pods]
	maxPods: 250
	syncFrequency: 10s
	nodeStatusUpdateFrequency: 5s
	imageGCHighThresholdPercent: 100
	imageGCLowThresholdPercent: 99
YAML
# As a service manager does: what has ended is started again, unless /run/NAME.off exists.
run() { # NAME COMMAND...
	while :; do
		if [ ! -e "/run/$1.off" ]; then
			"${@:2}" >>"/var/log/$1.log" 2>&1 &
			echo $! >"/run/$1.pid"
			wait $! || true
		fi
		sleep 0.1 # one that cannot start leaves the processor to others
	done &
}

run containerd containerd -c /etc/containerd.toml
until ctr version >/dev/null 2>&1; do sleep 0.05; done
[ "$CNI" != warren ] || set -- "$@" "$WARREN_BUILD/image/warren.tar"
for image; do ctr -n k8s.io images import "$image" >>/var/log/import.log 2>&1; done
until [ -e $home/api-ready ]; do sleep 0.1; done

mkdir -p /etc/kubernetes
cp "$pki/$name.conf" /etc/kubernetes/kubelet.conf # where kubeadm has it, with the API server's address
if [ "$APIS" != cp ]; then # ... or a name of several
	cat $home/hosts >>/etc/hosts
	sed -i 's|server: .*:6443|server: "https://api.warren.example:6443|' /etc/kubernetes/kubelet.conf
fi
# shellcheck disable=SC2086 # KUBELET_FLAGS are several
run kubelet "$bin/kubelet" --config=/etc/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.conf --hostname-override="$name" \
	--node-ip="$addresses" --v=2 $KUBELET_FLAGS
if [ "$PROXY" != none ]; then
	cat >/etc/kube-proxy.yaml <<-YAML
		apiVersion: kubeproxy.config.k8s.io/v1alpha1
		kind: KubeProxyConfiguration
		mode: $PROXY
		hostnameOverride: $name
		clusterCIDR: $POD_CIDRS
		clientConnection: { kubeconfig: $pki/kube-proxy.conf }
		conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s }
	YAML
	run kube-proxy "$bin/kube-proxy" --config=/etc/kube-proxy.yaml --v=2
fi
# bash, being process 1 here, reaps the processes that shims leave.
sleep infinity &
while :; do wait; done
