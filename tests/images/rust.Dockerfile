# An image with Cargo, rustc and a linker, where none can be downloaded: this machine's toolchain, which is the build context.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN set -eu; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends gcc libc6-dev; \
    rm -rf /var/lib/apt/lists/*
# The directory whose cache of the registry the Dockerfiles keep.
ENV CARGO_HOME=/usr/local/cargo
COPY . /usr/local/
RUN cargo --version && rustc --version
