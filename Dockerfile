# The image of a sandbox of the default kind: any common base with a few tools, plus the agent as its first process.
#
#   docker build --build-arg BASE_IMAGE=alpine:3.22 --build-arg EXTRA_PACKAGES="gcc make" .
#
# Bases with apt-get, apk or dnf work. In wrangler.jsonc the arguments go under the image's "build_vars".

ARG BASE_IMAGE=debian:bookworm-slim
ARG RUST_VERSION=1.95
# An image with Cargo, rustc and a linker. Its C library is linked into the agent: Alpine's is musl.
ARG RUST_IMAGE=rust:${RUST_VERSION}-alpine
# How Cargo compiles the agent. The profile "image" takes a fraction of the time, for images that nobody deploys.
ARG AGENT_PROFILE=release

# The agent, linked statically: one file that runs on every base.
FROM ${RUST_IMAGE} AS agent
ARG AGENT_PROFILE
# Alpine's image lacks what programs of the host's own target start with. Other images bring it.
RUN if command -v apk >/dev/null; then apk add --no-cache musl-dev; fi
WORKDIR /build
# The agent's sources, and of every other workspace member what Cargo wants to see; .dockerignore keeps everything else out.
COPY . .
# With an explicit target, flags for the agent stay away from build scripts and macros, which cannot be linked statically.
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

FROM ${BASE_IMAGE}
# Names of further packages, as the base's package manager knows them.
ARG EXTRA_PACKAGES=""
# Commands run as the user sandbox, who may become root by sudo without a password: what bounds the sandbox is the container.
RUN set -eu; \
    packages="bash ca-certificates curl git procps python3 sudo tar $EXTRA_PACKAGES"; \
    if command -v apt-get >/dev/null; then \
        apt-get update; \
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $packages; \
        rm -rf /var/lib/apt/lists/*; \
    elif command -v apk >/dev/null; then \
        apk add --no-cache $packages; \
    elif command -v dnf >/dev/null; then \
        # Some bases carry curl-minimal, which gives way to curl; procps has another name here.
        dnf install --assumeyes --allowerasing $(echo "$packages" | sed 's/procps/procps-ng/'); \
        dnf clean all; \
    else \
        echo "BASE_IMAGE has none of apt-get, apk and dnf" >&2; \
        exit 1; \
    fi; \
    if ! id sandbox >/dev/null 2>&1; then \
        # Alpine has adduser only, and its options differ from Debian's.
        if command -v useradd >/dev/null; then \
            useradd --create-home --shell /bin/bash sandbox; \
        else \
            adduser -D -s /bin/bash sandbox; \
        fi; \
    fi; \
    mkdir -p /workspace /etc/sudoers.d; \
    echo 'sandbox ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/sandbox; \
    chmod 0440 /etc/sudoers.d/sandbox; \
    chown "sandbox:$(id -gn sandbox)" /workspace
COPY --from=agent /cabana-agent /usr/local/bin/cabana-agent
ARG CABANA_VERSION=""
LABEL org.opencontainers.image.version=$CABANA_VERSION
# The agent itself is root: it becomes whom a caller names, and makes files for whom commands run as.
ENV LANG=C.UTF-8 CABANA_USER=sandbox
WORKDIR /workspace
# The agent's port: the Durable Object reaches it, nobody else.
EXPOSE 49983
# An image made from this one may say in its CMD what is to run beside the agent.
ENTRYPOINT ["/usr/local/bin/cabana-agent", "--"]
