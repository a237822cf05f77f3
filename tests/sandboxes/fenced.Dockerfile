# A sandbox whose kind has network rules, for cases that look at what these leave to the sandbox.
FROM scratch
EXPOSE 49983
