# planted features of two inputs, half of them in one alone: a crosscoder finds them and tells which is which
gloss synth planted -o d --inputs 2 -d 32 --features 24 -k 2 --rows 8000 --noise 0.01 --quiet | sed 's/, [0-9.]* s$//'
gloss inspect d --key input.2 --quiet | head -1
for arch in "topk --k 2" "relu --l1 0.2"; do
	gloss train d --key input.1 --cross-key input.2 --features 24 --arch $arch --batch 256 --steps 800 --lr 3e-3 -o c --force --quiet >/dev/null
	gloss match d d --json >/dev/null || echo "exit $?"
	gloss match c d --json | python3 -c "
import json, sys
s = json.load(sys.stdin)['scores']
print(s['mcc']['value'] > 0.9, *(s[k]['value'] == 1 > s[k]['chance'] + 0.3 for k in ('exclusive', 'shared')), s['explained_variance']['value'] > 0.95)"
done
gloss match c d --no-codes | grep -E '^(exclusive|shared)' | sed 's/0\.[0-9]*/N/'
gloss train d --key input.1 --features 24 --arch topk --k 2 --batch 256 --steps 5 -o s --quiet >/dev/null
gloss match s d --quiet 2>&1 || echo "exit $?"
gloss synth planted -o e --inputs 3 2>&1 || echo "exit $?"
gloss synth tree -o e --inputs 2 2>&1 || echo "exit $?"
gloss synth planted -o e --inputs 2 --exclusive 2 2>&1 || echo "exit $?"
gloss synth planted -o e --exclusive 0.3 2>&1 || echo "exit $?"
