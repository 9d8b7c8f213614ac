# what plot says of wrong input, one line each; and that nothing is written then
line() { echo "{\"step\":$1,\"tokens\":${1}00,\"fvu\":$2,\"n_dead\":0,\"l0\":0}"; }
mkdir -p runs/good runs/bad runs/empty none
line 1 0.5 >runs/good/train.jsonl
{ line 1 0.6; echo '{"step":'; line 2 0.5; } >runs/bad/train.jsonl
: >runs/empty/train.jsonl
gloss plot 2>&1 || echo "exit $?"
gloss plot none -o a.svg 2>&1 || echo "exit $?"
gloss plot no_such_folder -o a.svg 2>&1 || echo "exit $?"
gloss plot runs/good -o a.svg --y loss 2>&1 || echo "exit $?"
gloss plot runs/good -o a.svg --y '' 2>&1 || echo "exit $?"
gloss plot runs/good -o a.svg --x epochs 2>&1 || echo "exit $?"
gloss plot runs/good -o a.svg --y n_dead --log-y 2>&1 || echo "exit $?"
gloss plot runs/good -o a.svg --pareto --log-x 2>&1 || echo "exit $?"
gloss plot runs/good -o a.svg --pareto --y fvu 2>&1 || echo "exit $?"
gloss plot runs/empty -o a.svg 2>&1 || echo "exit $?"
gloss plot runs/empty -o a.svg --pareto 2>&1 || echo "exit $?"
gloss plot runs/good -o no_such_folder/a.svg 2>&1 || echo "exit $?"
gloss plot runs/good -o none 2>&1 || echo "exit $?"
gloss plot runs/good -o runs/good/train.jsonl 2>&1 || echo "exit $?"
gloss plot runs/good -o b.svg && gloss plot runs/good -o b.svg || echo "exit $?"
rm b.svg
GLOSS_FAULT=write:0 gloss plot runs/good -o a.svg 2>&1 || echo "exit $?"
ls
# a broken log is drawn as far as it goes, the others whole
gloss plot runs --json 2>&1 || echo "exit $?"
