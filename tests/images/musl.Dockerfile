# A sandbox on a base without glibc, as Alpine's: BusyBox, musl, and the agent of an image that has been built.
ARG BASE_IMAGE
ARG AGENT_IMAGE
FROM ${AGENT_IMAGE} AS agent

FROM ${BASE_IMAGE} AS packages
RUN set -eu; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends busybox-static musl-tools; \
    rm -rf /var/lib/apt/lists/*
# A program that musl's own loader starts.
RUN set -eu; \
    mkdir -p /base/bin /base/etc /base/home/sandbox /base/lib /base/proc /base/root /base/tmp /base/usr/bin /base/usr/local/bin /base/workspace; \
    printf '#include <stdio.h>\nint main(void) { return puts("musl") < 0; }\n' > /tmp/main.c; \
    musl-gcc -o /base/usr/bin/greet /tmp/main.c; \
    cp -L /lib/ld-musl-*.so.1 /base/lib/; \
    cp /bin/busybox /base/bin/; \
    for name in $(/bin/busybox --list); do [ "$name" = busybox ] || ln -s busybox "/base/bin/$name"; done; \
    printf 'root:x:0:0:root:/root:/bin/sh\nsandbox:x:1000:1000::/home/sandbox:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' > /base/etc/passwd; \
    printf 'root:x:0:\nsandbox:x:1000:\nnogroup:x:65534:\n' > /base/etc/group; \
    chmod 1777 /base/tmp; \
    chown 1000:1000 /base/home/sandbox /base/workspace

FROM scratch
COPY --from=packages /base /
COPY --from=agent /usr/local/bin/cabana-agent /usr/local/bin/cabana-agent
ENV LANG=C.UTF-8 CABANA_USER=sandbox PATH=/usr/local/bin:/usr/bin:/bin
WORKDIR /workspace
EXPOSE 49983
ENTRYPOINT ["/usr/local/bin/cabana-agent", "--"]
