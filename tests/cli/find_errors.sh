# What find says of wrong input, one line each.
exec 2>&1
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
try() { gloss find -d small.db "$@" || echo "exit $?"; }
try
try --regex a --text b
try --regex '(a'
try --regex '^(?:(?:.|\n)+)+[\x{1}\x{2}]$'
try --text 'cat AND'
try --text '"cat'
try --text ' '
try --text cat --min-recall 0.5
try --of 8
try --of x
try --of 1 --text cat
try --of 1 --sort auroc
try --text '日本 it-is'
try --text '^日本'
printf 'cat\ncat dog (\n' >words
printf '\n12\n' >numbers
printf 'cat\0dog\n' >nul
try --like words
try --like numbers
try --like nul
try --like absent
try --like words --sort f1
try --like - --unlike -
try --unlike words
echo nowhere | try --like -
