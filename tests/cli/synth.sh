# dumps with known features: what is written, read as any dump; the truth as an SAE; what is wrong, one line each
gloss synth planted -o p --rows 3000 --quiet | sed 's/[0-9.]* s$/time/'
ls p p/truth
cat p/dump.json && echo
sed 's/"max_cosine":0\.497[0-9]*/"max_cosine":0.497/' p/truth/truth.json && echo
gloss synth tokfsm -o fsm --rows 2560 --trigrams --shard-rows 1300 --quiet --json | sed 's/"seconds":[0-9.e-]*/"seconds":0/'
ls fsm
gloss inspect fsm --tokenizer fsm/tokenizer.json --quiet | grep -E '^(contexts|token ids|as text|  masked)'
gloss match p p --draws 0 --holdout 1 --quiet
gloss match p p --no-codes --draws 1 --quiet --json | sed 's/"chance":0\.[0-9]*/"chance":0/g; s/:0\.99999[0-9]*/:1/g'
# options of another kind, out of range, a folder that is there
gloss synth planted -o q --zipf 1 --quiet 2>&1 || echo "exit $?"
gloss synth tree -o q --features 5 --quiet 2>&1 || echo "exit $?"
gloss synth planted -o q -k 200 --quiet 2>&1 || echo "exit $?"
gloss synth planted -o q --rows 0 --quiet 2>&1 || echo "exit $?"
gloss synth forest -o q --quiet 2>&1 || echo "exit $?"
gloss synth planted --quiet 2>&1 || echo "exit $?"
gloss synth planted -o p --rows 10 --quiet 2>&1 || echo "exit $?"
mkdir mine && echo x >mine/notes.txt
gloss synth planted -o mine --rows 10 --force --quiet 2>&1 || echo "exit $?"
gloss synth planted -o p --rows 10 --force --quiet | sed 's/[0-9.]* s$/time/'
gloss synth planted -o none/q --rows 10 --quiet 2>&1 || echo "exit $?"
test -e q || echo "not there"
# rows in which there is nothing to find; a single row, and rows that only noise changes, are fine
no() { gloss synth "$@" -o q --rows 500 --quiet 2>&1 || echo "exit $?"; test ! -e q || echo "it is there"; }
no planted --mean -5
no planted --mean -5 --noise 0.1 --inputs 2
no planted --mean -1 --mean-last -1 --std 0
no planted --features 4 -k 4 --std 0
no hierarchy --features 64 -d 16 --roots 0 --mean -20
no hierarchy --features 64 -d 16 --roots 0 --p-max 1e-9 --p-min 1e-9
no codebook --features 2 -k 2 --noise 0
no toy --probability 0
no tokfsm --rows 512 --states 1 --successors 1 --noise 0
gloss synth planted -o one --rows 1 --quiet | sed 's/[0-9.]* s$/time/'
gloss synth codebook -o noisy --features 2 -k 2 --rows 500 --quiet | sed 's/[0-9.]* s$/time/'
gloss synth planted -o cut --mean -0.3 --rows 500 --quiet | sed 's/[0-9.]* s$/time/'
