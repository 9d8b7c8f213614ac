# Features that tell two sets of contexts apart: sets by number and by words, from files and from standard input.
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
printf '\357\273\277猫 NOT cat\r\n\n9000000000000000002\n9000000000000000003\nnowhere' >like
echo 9000000000000000001 | gloss find -d small.db --like like --unlike - -n 3
gloss find -d small.db --like like --sort auroc -n 2
echo '日本' | gloss find -d small.db --like - -n 3
echo 9000000000000000000 | gloss find -d small.db --like - --unlike like -n 1
sqlite3 small.db 'DELETE FROM firing WHERE context_id = 9000000000000000002'
gloss find -d small.db --like like -n 1 --json
