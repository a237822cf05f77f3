# The network sidecar of workerd, see egress.rs.
ARG RUST_IMAGE
FROM ${RUST_IMAGE} AS sidecar
COPY egress.rs egress.pem /sidecar/
RUN rustc --edition 2024 -O -C target-feature=+crt-static -o /egress /sidecar/egress.rs

FROM scratch
COPY --from=sidecar /egress /egress
EXPOSE 39001
ENTRYPOINT ["/egress"]
