# An image with Python and pip as the programs python and pip, where Python's own cannot be downloaded: Debian's.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN set -eu; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 python3-pip; \
    rm -rf /var/lib/apt/lists/*; \
    ln -s python3 /usr/bin/python
# Debian's pip refuses to install beside Debian's packages. Python's own has no such packages.
ENV PIP_BREAK_SYSTEM_PACKAGES=1
