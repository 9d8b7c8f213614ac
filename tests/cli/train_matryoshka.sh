# Matryoshka and Multi-TopK: what is refused, said, saved, gone on with and swept
data=$GLOSS_SOURCE/demo/data
quick="--features 64 --k 8 --batch 256 --steps 8 --quiet"
train() { gloss train "$data" $quick "$@" 2>&1 || echo "exit $?"; }
plain() { sed 's/ in [0-9.]* s ([^;]*; / (/; s/, kernels .*/)/; s/[0-9]\.[0-9]\{4,5\}/fvu/g; s/l0 [0-9.]*/l0/; s/, [0-9]* features dead//'; }
m="--arch matryoshka"
train -o no $m --groups 0.5,x
train -o no $m --groups 0.5,0.25
train -o no $m --groups 32,31
train -o no $m --groups 0.001,0.999
train -o no $m --groups "$(seq -s, 33)"
train -o no $m --groups 32,32 --random-prefixes 3
train -o no $m --random-prefixes 33
train -o no $m --features 4 --k 1 --random-prefixes 5
train -o no $m --prefix-loss product
train -o no $m --prefix-weights 1,x
train -o no $m --prefix-weights 1,2
train -o no $m --groups 32,32 --prefix-weights 1,0
train -o no $m --groups 32,32 --prefix-weights 1,2 --prefix-bias
train -o no $m --groups 32,32 --prefix-weights 1,2 --prefix-loss mean
train -o no $m --groups 32,32 --prefix-weights 1,2 --prefix-loss sum
train -o no --prefix-weights 1,2
train -o no --groups 32,32
train -o no --arch multitopk --random-prefixes 2
ls no 2>&1
train -o fixed $m | plain
train -o drawn $m --random-prefixes 4 --prefix-loss sum --prefix-bias >/dev/null
train -o weighted $m --groups 32,32 --prefix-weights 2,1 >/dev/null
gloss train "$data" $quick -o preset --preset dictionary-learning-matryoshka --groups 32,32 --prefix-weights 2,1 2>&1 | grep -c '^last batch'
train -o even $m --groups 32,32 --prefix-weights 0.5,0.5 >/dev/null
train -o mean $m --groups 32,32 >/dev/null
cmp even/sae_weights.safetensors mean/sae_weights.safetensors && echo "even weights are the mean, to the bit"
cmp -s weighted/sae_weights.safetensors mean/sae_weights.safetensors || echo "others are not"
train -o weighted $m --groups 32,32 --prefix-weights 1,1 --resume
train -o multi --arch multitopk | plain
python3 - <<'END'
import json
for name in "fixed", "drawn", "weighted", "multi":
	c = json.load(open(name + "/cfg.json"))
	m = c["metadata"]
	plan = {k: v for k, v in m["gloss"]["plan"].items() if "prefix" in k or k == "groups"}
	last = json.loads(open(name + "/train.jsonl").read().splitlines()[-2])
	fvu = [p["fvu"] for p in last.get("prefixes", [])]
	print(c["architecture"], m["training_architecture"], m["gloss"]["options"]["arch"], plan, len(fvu), fvu == sorted(fvu, reverse=True))
END
gloss eval fixed "$data" --json --quiet | python3 -c "
import json, sys
m = json.load(sys.stdin)['metrics']
print('eval', 0 < m['fvu'] < 1, 2 < m['l0'] < 30)"
gloss eval fixed "$data" --prefixes 4,8,16,32,64 --metric fvu --no-dictionary --json --quiet | python3 -c "
import json, sys
m = json.load(sys.stdin)
fvu = [p['fvu'] for p in m['prefixes']]
print([p['features'] for p in m['prefixes']], fvu == sorted(fvu, reverse=True), abs(fvu[-1] - m['metrics']['fvu']) < 1e-5)"
gloss eval fixed "$data" --prefixes 64 --metric fvu --no-dictionary --quiet | tail -2 | plain
for list in 4,x 0 65 1.5 4, ; do gloss eval fixed "$data" --prefixes $list 2>&1 || echo "exit $?"; done
# one group is BatchTopK
train -o one $m --groups 64 >/dev/null
train -o batch --arch batchtopk >/dev/null
cmp one/sae_weights.safetensors batch/sae_weights.safetensors && echo same
# interrupted and gone on with
gloss train "$data" $quick -o half $m --random-prefixes 4 --prefix-loss sum --prefix-bias >/dev/null
train -o half $m --random-prefixes 4 --prefix-loss mean --resume
train -o half $m --random-prefixes 5 --prefix-loss sum --prefix-bias --resume
# in one pass, each as alone
train -o sweep --sweep arch=matryoshka,multitopk >/dev/null
cmp fixed/sae_weights.safetensors sweep/matryoshka/sae_weights.safetensors && cmp multi/sae_weights.safetensors sweep/multitopk/sae_weights.safetensors && echo same
