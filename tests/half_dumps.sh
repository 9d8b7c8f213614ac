#!/bin/sh
# usage: half_dumps.sh A B     the demo's dump as two folders, a shard each with its own manifest, for the golden tests
set -eu
root=${GLOSS_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
python3 - "$root/demo/data" "$1" "$2" <<'END'
import json, os, sys
data, *halves = sys.argv[1:]
manifest = json.load(open(f"{data}/dump.json"))
documents = manifest["documents"]
for i, half in enumerate(halves):
    os.mkdir(half)
    shard = f"acts-0000{i}-of-00002.safetensors"
    os.symlink(f"{data}/{shard}", f"{half}/{shard}")
    manifest["documents"] = documents[i * len(documents) // 2:(i + 1) * len(documents) // 2]
    json.dump(manifest, open(f"{half}/dump.json", "w"))
END
