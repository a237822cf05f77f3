# Speaks JSON-RPC on stdin and stdout: each call adds a number to the sum that it answers.
import json
import sys

total = 0
print("ready", file=sys.stderr, flush=True)
for line in sys.stdin:
    call = json.loads(line)
    total += call["params"]["n"]
    print(json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": total}), flush=True)
sys.exit(total % 256)
