# runs: a sweep's folder with a run in every state, sorted in several ways, as JSON, and followed
run() { # FOLDER F K SEED STEPS: cfg.json of a run that made STEPS of 20
	mkdir -p "$1"
	echo "{\"architecture\":\"topk\",\"d_in\":4,\"d_sae\":$2,\"k\":$3,\"metadata\":{\"l0\":$3,\"num_dead_features\":1,
		\"gloss\":{\"steps\":$5,\"tokens\":${5}000,\"fvu\":0.5,\"plan\":{\"steps\":20,\"lr\":0.0002},
		\"options\":{\"arch\":\"topk\",\"seed\":$4}}}}" >"$1/cfg.json"
}
line() { echo "{\"step\":$1,\"tokens\":${1}000,\"fvu\":$2,\"mse\":9,\"l0\":4,\"n_dead\":2,\"seconds\":$1,\"tokens_per_s\":1000}"; }
run sweep/k8 64 8 0 20
{ line 1 0.9; line 20 0.25; echo '{"held_out":{"rows":9,"fvu":0.3125,"l0":8}}'; } >sweep/k8/train.jsonl
run sweep/k16 64 16 0 20
{ line 1 0.9; echo '{"step":10,"held_out":{"fvu":0.4}}'; line 20 0.125; echo '{"step":20,"held_out":{"fvu":0.25}}'; } >sweep/k16/train.jsonl
run sweep/stopped 128 16 1 12
line 12 0.5 >sweep/stopped/train.jsonl
run sweep/early 128 16 2 12
{ line 12 0.5; echo '{"end":"stopped early","step":12}'; } >sweep/early/train.jsonl
run sweep/diverges 128 16 3 12
{ line 12 0.5; echo '{"end":"the loss of batch 13 is not finite","step":12}'; } >sweep/diverges/train.jsonl
mkdir sweep/dies sweep/lives sweep/.hidden sweep/empty
{ line 1 0.9; line 5 0.75; printf '{"step":6,"tok'; } >sweep/dies/train.jsonl
touch -d '2020-01-01' sweep/dies/train.jsonl
line 3 0.8 >sweep/lives/train.jsonl
line 1 1 >sweep/.hidden/train.jsonl
ln -s ../sweep sweep/again
mkdir -p sweep/foreign sweep/bad_config sweep/bad_log sweep/bad_state/checkpoint
echo '{"architecture":"jumprelu","d_in":4,"d_sae":32}' >sweep/foreign/cfg.json
echo '{"architecture":' >sweep/bad_config/cfg.json
run sweep/bad_log 64 8 0 20
{ line 1 0.9; echo 'step 2'; line 3 0.7; } >sweep/bad_log/train.jsonl
run sweep/bad_state 64 8 0 20
echo '{"not": "a checkpoint"}' >sweep/bad_state/checkpoint/state.safetensors
gloss runs sweep
echo
gloss runs sweep/ sweep/k8 --sort -fvu
echo
gloss runs sweep/k8 sweep/k16 --sort held_out_fvu --json
gloss runs sweep/bad_log sweep/foreign --json
gloss runs --follow sweep/k8
gloss runs --follow sweep/early
