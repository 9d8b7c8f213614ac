# Nothing that a token, a context or a label holds reaches the terminal raw: no escape, no bidirectional mark.
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
sqlite3 small.db "UPDATE feature_detail SET intervals = json_set(intervals, '\$.definition', char(27) || '[2J' || char(8238))"
{
	gloss features -d small.db
	gloss show 5 -d small.db --full -n 100
	gloss show 0 -d small.db -n 100
	gloss find -d small.db --text '31mred OR red'
	gloss find -d small.db --regex red
	gloss find -d small.db --of 5
	gloss find -d small.db --of 2 --json
	gloss sql -d small.db "SELECT text FROM vocab UNION ALL SELECT text FROM context UNION ALL SELECT text FROM explanation"
	gloss show 5 -d small.db --json
	gloss find -d small.db --text red --json
	gloss features -d small.db --sort "$(printf '\033[2J')" 2>&1
} >out
wc -l <out | tr -d ' ' | grep -vx 0 >/dev/null && echo "something was printed"
LC_ALL=C tr -d '\n\40-\176\200-\377' <out | wc -c | tr -d ' '
grep -c "$(printf '\342\200\256')" out
grep -c 'U+001B' out >/dev/null && echo "escapes are shown as <U+001B>"
