#!/bin/sh
# wasm-opt as worker-build calls it: INPUT -o OUTPUT ARGUMENTS. What it made last is kept, since it takes most of a build that changes
# nothing. CABANA_WASM_OPT is the real one, CABANA_WASM_OPT_LOCK the file that fixes its version, CABANA_WASM_OPT_KEPT a directory.
set -eu
# worker-build would have the names of functions kept. They only serve to order these.
for argument; do
    shift
    [ "$argument" = --debuginfo ] || set -- "$@" "$argument"
done
key=$({ printf '%s\n' "$@" && cat "$CABANA_WASM_OPT_LOCK" "$1"; } | sha256sum | cut -c 1-64)
kept=$CABANA_WASM_OPT_KEPT/$key.wasm
if [ ! -f "$kept" ]; then
    "$CABANA_WASM_OPT" "$@"
    mkdir -p "$CABANA_WASM_OPT_KEPT"
    rm -f "$CABANA_WASM_OPT_KEPT"/*
    cp "$3" "$kept.partial"
    mv "$kept.partial" "$kept"
    exit
fi
cp "$kept" "$3"
