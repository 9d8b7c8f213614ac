# what train says of wrong input, one line each; and that a wrong option leaves nothing behind
data=$GLOSS_SOURCE/demo/data
quick="--features 64 --k 4 --batch 256 --steps 2 --log-every 1 --quiet"
gloss train "$data" 2>&1 || echo "exit $?"
gloss train "$data" -o sae --k 9 --features 8 2>&1 || echo "exit $?"
gloss train "$data" -o sae --decay 2 2>&1 || echo "exit $?"
gloss train "$data" -o sae --steps 2 --tokens 1M 2>&1 || echo "exit $?"
gloss train "$data" -o sae --kernels mmx 2>&1 || echo "exit $?"
gloss train "$data" -o /proc/sae 2>&1 || echo "exit $?"
gloss train no_such_dump -o gone 2>&1 || echo "exit $?"
ls sae 2>&1
ls gone
touch sae
gloss train "$data" -o sae/deep 2>&1 || echo "exit $?"
rm sae
# a run, then the folder that holds it
gloss train "$data" -o sae $quick >summary || echo "exit $?"
wc -l <summary
ls sae
gloss train "$data" -o sae $quick 2>&1 || echo "exit $?"
rm sae/cfg.json
gloss train "$data" -o sae $quick 2>&1 || echo "exit $?"
gloss train "$data" -o sae $quick --force >/dev/null || echo "exit $?"
ls sae
wc -l <sae/train.jsonl
gloss train "$data" -o full $quick --log no_such_folder/log 2>&1 || echo "exit $?"
