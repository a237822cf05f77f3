# Becomes a program, in whose root the directories that are named are disks of their own, which only it sees. Takes root.
# Usage: on_small_disks.sh [directory:mount-options]... -- program
set -eu
while [ "$1" != -- ]; do
    directory="$CABANA_ROOTS/${1%%:*}"
    mkdir -p "$directory"
    mount -t tmpfs -o "${1#*:}" disk "$directory"
    shift
done
shift
exec "$@"
