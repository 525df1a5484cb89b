# SPDX-License-Identifier: BSD-2-Clause
#
# The image of `make image` for those who build with Docker: docker build -t localhost/warren:0.1.0 .
# It has the same content at the same paths, made by the same target; only the compiler and the libraries are those of
# this image's Debian.
FROM debian:12 AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
	make gcc pkg-config clang bpftool libc6-dev linux-libc-dev libbpf-dev libelf-dev zlib1g-dev libmnl-dev libnftnl-dev \
	libjansson-dev libuv1-dev libyaml-dev libmicrohttpd-dev libcurl4-openssl-dev libssl-dev libnanopb-dev busybox-static containernetworking-plugins jq
COPY . /src
RUN make -C /src -j"$(nproc)" O=/build image-root

FROM scratch
COPY --from=build /build/image/root /
ENV PATH=/usr/sbin:/bin
CMD ["/usr/sbin/warren-agent"]
