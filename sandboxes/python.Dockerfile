# The image of a sandbox of the kind python: Python as it comes from its makers, what data is looked at with, and the agent.

ARG PYTHON_IMAGE=python:3.13-slim-bookworm
ARG RUST_VERSION=1.95
ARG RUST_IMAGE=rust:${RUST_VERSION}-alpine
ARG AGENT_PROFILE=release

# As in ../Dockerfile, whose layers it shares: one file that runs on every base.
FROM ${RUST_IMAGE} AS agent
ARG AGENT_PROFILE
RUN if command -v apk >/dev/null; then apk add --no-cache musl-dev; fi
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    set -eu; \
    # Cargo goes by times, and the kept target may be newer than these files though it was built from others.
    find . -path ./target -prune -o -name '*.rs' -exec touch {} +; \
    host="$(rustc -vV | sed -n 's/^host: //p')"; \
    # Packed, the addresses to relocate take 20 KiB in place of 600; older linkers ignore it.
    RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs" \
        cargo build --profile "$AGENT_PROFILE" --locked --target "$host" --package cabana-agent; \
    cp "target/$host/$AGENT_PROFILE/cabana-agent" /cabana-agent

FROM ${PYTHON_IMAGE}
# Names of further packages of PyPI.
ARG PIP_PACKAGES=""
RUN set -eu; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        bash ca-certificates curl git procps sudo tar; \
    rm -rf /var/lib/apt/lists/*; \
    pip install --no-cache-dir deno ipykernel matplotlib numpy pandas $PIP_PACKAGES; \
    # Deno's own installer does not say that it is interrupted by a message.
    kernels=/usr/local/share/jupyter/kernels; \
    mkdir -p "$kernels/deno"; \
    printf '%s\n' '{"argv": ["deno", "jupyter", "--kernel", "--conn", "{connection_file}"], "display_name": "Deno",' \
        '"language": "typescript", "interrupt_mode": "message"}' > "$kernels/deno/kernel.json"; \
    useradd --create-home --shell /bin/bash sandbox; \
    # Python looks only once, at its start, whether it is there: what %pip installs is then found at once.
    su sandbox -c 'mkdir -p "$(python3 -m site --user-site)"'; \
    mkdir -p /workspace; \
    chown sandbox:sandbox /workspace; \
    echo 'sandbox ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/sandbox; \
    chmod 0440 /etc/sudoers.d/sandbox
COPY --from=agent /cabana-agent /usr/local/bin/cabana-agent
ARG CABANA_VERSION=""
LABEL org.opencontainers.image.version=$CABANA_VERSION
# A started Python waits for the first cell.
ENV LANG=C.UTF-8 CABANA_USER=sandbox CABANA_WARM_KERNELS=python
WORKDIR /workspace
EXPOSE 49983
ENTRYPOINT ["/usr/local/bin/cabana-agent", "--"]
