# Becomes a program, in whose root `image` is an overlay over a layer that holds a tree, which only it sees. Takes root.
# Usage: on_overlay.sh -- program
set -eu
[ "$1" = -- ]
shift
mkdir -p "$CABANA_ROOTS/image"
layers=$(mktemp -d)
mount -t tmpfs layers "$layers"
mkdir -p "$layers/lower/tree/a" "$layers/upper" "$layers/work"
echo one > "$layers/lower/tree/a/f"
chmod 750 "$layers/lower/tree"
touch -d '2001-02-03 UTC' "$layers/lower/tree/a/f" "$layers/lower/tree/a" "$layers/lower/tree"
mount -t overlay -o "lowerdir=$layers/lower,upperdir=$layers/upper,workdir=$layers/work" image "$CABANA_ROOTS/image"
exec "$@"
