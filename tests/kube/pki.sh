#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# pki.sh DIRECTORY NAME=ADDRESS[,ADDRESS...]...: one authority and all certificates and kubeconfigs of a cluster. The first name is the
# control plane's, the others are nodes'.
#
set -euo pipefail
mkdir -p "$1"
cd "$1"
shift
first=${1#*=}
api=${first%%,*}
[[ $api != *:* ]] || api=[$api]

key() {
	openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
}

cert() { # NAME SUBJECT [ALTERNATIVE NAMES]
	key "$1"
	openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
	openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" -days 30 -out "$1.crt" \
		-extfile <(printf 'keyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n%s\n' \
			"${3:+subjectAltName=$3}") 2>/dev/null
	rm "$1.csr"
}

kubeconfig() { # NAME
	cat >"$1.conf" <<-YAML
		apiVersion: v1
		kind: Config
		clusters: [{ name: c, cluster: { server: "https://$api:6443", certificate-authority-data: $(base64 -w0 ca.crt) } }]
		users: [{ name: u, user: { client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key") } }]
		contexts: [{ name: c, context: { cluster: c, user: u } }]
		current-context: c
	YAML
}

client() { # NAME SUBJECT
	cert "$1" "$2"
	kubeconfig "$1"
}

key ca
openssl req -x509 -new -key ca.key -subj /CN=test-ca -days 30 -out ca.crt
service=kubernetes.default.svc
cert cp /CN=kube-apiserver "DNS:api.warren.example,DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local,DNS:localhost,IP:10.96.0.1,IP:fd96::1,IP:127.0.0.1,IP:${first//,/,IP:}"
client admin /O=system:masters/CN=admin
# Not its own role: an account for each controller takes 4 s to make.
client kube-controller-manager /O=system:masters/CN=system:kube-controller-manager
client kube-scheduler /CN=system:kube-scheduler
client kube-proxy /CN=system:kube-proxy
cert kubelet-client /O=system:masters/CN=apiserver-kubelet-client
shift
for node; do
	name=${node%%=*}
	addresses=${node#*=}
	cert "$name" "/O=system:nodes/CN=system:node:$name" "DNS:$name,IP:${addresses/,/,IP:}"
	kubeconfig "$name"
done
openssl genrsa -out sa.key 2048 2>/dev/null
openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
