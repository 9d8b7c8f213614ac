# text of an automaton from end to end: a feature is found by a pattern of its state, and fires there alone
gloss synth tokfsm -o fsm --rows 64k --quiet >/dev/null
gloss train fsm -o sae --features 256 --k 1 --batch 512 --tokens 256k --quiet >/dev/null 2>&1
gloss index sae fsm -d fsm.db --tokenizer fsm/tokenizer.json --corpus --quiet >/dev/null 2>&1
gloss find --regex '(?:<bos>|\G)(?:\d\d)*?3(2)' -d fsm.db --limit 1 --json |
	python3 -c "
import json, sys
f = json.load(sys.stdin)['features'][0]
print(f['precision'] >= 0.95, f['recall'] >= 0.9)"
gloss match sae fsm --draws 0 --quiet --json |
	python3 -c "
import json, sys
s = json.load(sys.stdin)['scores']
print(s['purity']['value'] >= 0.95, s['mmcs_truth']['value'] > 0.9)"
