# What label says of wrong input, one line each; of many labels none is added then.
exec 2>&1
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
try() { gloss label "$@" || echo "exit $?"; }
from() {
	printf "$1" | gloss label -d small.db --from - || echo "exit $?"
}
try -d small.db
try 8 -d small.db
try x -d small.db text
try 0 text
try 0 -d small.db ' '
try 0 -d small.db "$(printf 'two\nlines')"
try 0 -d small.db "$(printf 'escape \033[2J')"
try 0 -d small.db "$(printf 'cut \342\200')"
try 0 -d small.db "$(printf '%01001d' 0)"
try 0 -d small.db --undo
try 0 -d small.db text --undo
try 0 -d small.db --from x
try 0 -d small.db --source other text
try -d small.db --from nowhere.tsv
from '1\tgood\n2\t \n'
from '1\tgood\n\n8\tbad\n'
from '1\tgood\nno number\tbad\n'
from '1\tgood\n2 bad\n'
from '1\tgood\n2\tnul \0 here\n'
from '\n\n'
printf '5\tgood\n99\tbad\n' >labels.tsv
try -d small.db --from labels.tsv
gloss features -d small.db --where "label_method = 'person'"
