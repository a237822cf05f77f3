# The image of a sandbox of the kind python: Python as it comes from its makers, what data is looked at with, and the agent.

ARG RUST_VERSION=1.95

# As in ../Dockerfile, whose layers it shares: one file that runs on every base.
FROM rust:${RUST_VERSION}-alpine AS agent
RUN apk add --no-cache musl-dev
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    set -eu; \
    host="$(rustc -vV | sed -n 's/^host: //p')"; \
    RUSTFLAGS="-C target-feature=+crt-static" \
        cargo build --release --locked --target "$host" --package cabana-agent; \
    cp "target/$host/release/cabana-agent" /cabana-agent

FROM python:3.13-slim-bookworm
# Names of further packages of PyPI.
ARG PIP_PACKAGES=""
RUN set -eu; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        bash ca-certificates curl git procps sudo tar; \
    rm -rf /var/lib/apt/lists/*; \
    pip install --no-cache-dir ipykernel matplotlib numpy pandas $PIP_PACKAGES; \
    useradd --create-home --shell /bin/bash sandbox; \
    mkdir -p /workspace; \
    chown sandbox:sandbox /workspace; \
    echo 'sandbox ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/sandbox; \
    chmod 0440 /etc/sudoers.d/sandbox
COPY --from=agent /cabana-agent /usr/local/bin/cabana-agent
ARG CABANA_VERSION=""
LABEL org.opencontainers.image.version=$CABANA_VERSION
ENV LANG=C.UTF-8 CABANA_USER=sandbox
WORKDIR /workspace
EXPOSE 49983
ENTRYPOINT ["/usr/local/bin/cabana-agent", "--"]
