# A sandbox whose agent has small limits, for cases that exceed them through the whole stack. The local engine reads the variables.
FROM scratch
ENV CABANA_BODY_TIMEOUT_MS=500 \
    CABANA_GIT_STALL_MS=1000 \
    CABANA_MAX_ARCHIVES=1 \
    CABANA_MAX_ARCHIVE_BYTES=90000000 \
    CABANA_MAX_ARCHIVE_ENTRIES=3 \
    CABANA_MAX_ARCHIVE_RATIO=20 \
    CABANA_MAX_REQUEST_BYTES=100000 \
    CABANA_MAX_SEARCHES=1
EXPOSE 49983
