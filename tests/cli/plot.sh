# plot: the values of curves and of the Pareto plot, and that the pictures are written and are XML
run() { # FOLDER F K FVU: a finished run of 2 steps
	mkdir -p "$1"
	echo "{\"d_sae\":$2,\"k\":$3,\"metadata\":{\"gloss\":{\"steps\":20,\"plan\":{\"steps\":20}}}}" >"$1/cfg.json"
	{
		echo "{\"step\":1,\"tokens\":100,\"fvu\":0.9,\"mse\":90,\"l0\":$3,\"n_dead\":0,\"seconds\":0.5}"
		echo '{"step":10,"held_out":{"fvu":0.75,"mse":80}}'
		echo "{\"step\":20,\"tokens\":2000,\"fvu\":$4,\"mse\":30,\"l0\":$3,\"n_dead\":2,\"seconds\":10}"
	} >"$1/train.jsonl"
}
run sweep/F64-k8 64 8 0.5
run sweep/F64-k16 64 16 0.375
run sweep/F128-k8 128 8 0.25
gloss plot sweep --json
gloss plot sweep/F64-k8 --json --y n_dead --x step
gloss plot sweep/F64-k8 --json --y held_out.mse --x seconds
gloss plot sweep --json --pareto
for folder in sweep/*; do
	sed -i '$!d' "$folder/train.jsonl" # nothing held out any more
done
gloss plot sweep --json --pareto
gloss plot sweep --pareto | grep -o '[^>]*last training batch'
# the picture: to standard output or a file, over an old one, nothing else beside it
gloss plot sweep/ >a.svg
gloss plot sweep -o b.svg && gloss plot sweep -o b.svg && cmp a.svg b.svg
gloss plot sweep -o c.svg --json --title 'R&D <1>' >json
grep -c . json
grep -o '<title>R.*' c.svg
ls
if command -v xmllint >/dev/null; then
	xmllint --noout a.svg c.svg
fi
