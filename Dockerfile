# SPDX-License-Identifier: BSD-2-Clause
#
# The image of `make image` for those who build with Docker: docker build -t localhost/warren:0.1.0 .
# It has the same content at the same paths, made by the same target; only the compiler and the libraries are those of
# this image's Debian.
FROM debian:12 AS build
COPY tests/lib/deps.sh /
RUN /deps.sh build
COPY . /src
RUN make -C /src -j"$(nproc)" O=/build image-root

FROM scratch
COPY --from=build /build/image/root /
ENV PATH=/usr/sbin:/bin
CMD ["/usr/sbin/warren-agent"]
