# every preset trains; what is given on the command line or in a config goes before it; an option that its architecture has not is refused
exec 2>&1
data=$GLOSS_SOURCE/demo/data
presets=$(gloss train --help | awk '$1 == "--preset" { gsub(/\|/, " ", $2); print substr($0, index($0, $2)); exit }')
for preset in $presets; do
	gloss train "$data" -o "$preset" --preset "$preset" --features 128 --steps 3 --batch 512 --quiet --json >report ||
		{ echo "$preset: exit $?"; continue; }
	python3 - "$preset" <<'END'
import json, sys
r = json.load(open("report"))
o = r["options"]
print(sys.argv[1], r["arch"], len(r["departs"]), *(o[k] for k in ("normalize", "optimizer", "schedule", "clip")))
END
	gloss inspect "$preset" | sed -n 's/^computed as */  saved as /p'
done
echo given first
echo '{"schedule": "cosine"}' >config.json
gloss train "$data" -o a --preset dictionary-learning-topk --config config.json --clip 0 --features 128 --steps 2 --batch 512 --quiet --json |
	python3 -c 'import json, sys; o = json.load(sys.stdin)["options"]; print(o["preset"], o["schedule"], o["clip"], o["normalize"])'
gloss train "$data" -o b --preset dictionary-learning-topk --features 128 --steps 2 --batch 512 >/dev/null 2>said
sed -n '/as dictionary/,/resampling/p' said
gloss train "$data" -o c --preset openai --l1 3 --steps 2 --quiet || echo "exit $?"
gloss train "$data" -o c --preset saelens --quiet || echo "exit $?"
ls
