# what ends a run before its time: a shard that goes or shrinks, a signal, time, a loss that is not finite
data=$GLOSS_SOURCE/demo/data
quick="--features 64 --k 4 --batch 256 --quiet --steps 1000000"
mkdir dump
cp "$data"/*.safetensors dump
plain() { sed 's/step [0-9]*/step N/g'; }
# in_a_while WHAT FOLDER: a run into the folder, to which something happens when it has started
in_a_while() {
	(while ! grep -q '"step":20,' "$2/train.jsonl" 2>/dev/null; do sleep 0.05; done; eval "$1") &
	gloss train dump $quick --time-limit 60s -o "$2" 2>&1 || echo "exit $?"
	wait
}
in_a_while 'mv dump/acts-00001* .' gone | plain
ls gone gone/checkpoint
mv acts-00001* dump
gloss train dump $quick --time-limit 0.6s -o gone --resume 2>&1 | plain
in_a_while 'truncate -s 5000 dump/acts-00001*' shrunk | plain | sed 's/from [0-9]*/from N/'
cp "$data"/*.safetensors dump
gloss train dump $quick --time-limit 0.6s -o shrunk --resume 2>&1 | plain
for signal in INT TERM USR1; do
	timeout --foreground --preserve-status -s $signal 1 gloss train dump $quick -o signal --resume 2>&1 | plain
done
gloss train dump $quick -o signal --resume --time-limit 0.6s --checkpoint-minutes 0 --json 2>/dev/null |
	sed 's/.*\("finished":false,"end":"saved"\).*/\1/'
gloss train dump $quick -o none --time-limit 0.6s --checkpoint-minutes 0 2>&1 | plain
ls none
# rows of norm 1e17: with a large step, the error of the second step cannot be squared in 32 bits
a='\274\242\261\133' b='\274\242\261\333' o='\0\0\0\0'
{
	printf '\223NUMPY\1\0\166\0'
	printf '%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': (256, 4), }"
	for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31; do
		printf "$a$o$o$o$o$a$o$o$o$o$a$o$b$o$o$a$a$a$o$o$b$o$o$o$o$o$a$b$a$b$a$b"
	done
} >huge.npy
huge="--features 8 --k 2 --batch 64 --steps 20 --max-norm-ratio 0 --normalize none --split tail --quiet --kernels scalar"
gloss train huge.npy -o huge $huge --sweep lr=1e-30,1000 --checkpoint-every 1 2>&1 >table || echo "exit $?"
grep -o 'huge/lr.*' table
ls huge/lr1e-30 huge/lr1000
tail -n 1 huge/lr1000/train.jsonl
gloss train huge.npy -o lost $huge --lr 1000 --checkpoint-every 1 2>&1 || echo "exit $?"
ls lost
gloss train huge.npy -o lost $huge --lr 1000 --checkpoint-every 1 --resume 2>&1 || echo "exit $?"
