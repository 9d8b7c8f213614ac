# Nothing that a token, a context or a label holds reaches the terminal raw: no escape, no bidirectional mark.
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
sh "$GLOSS_SOURCE/tests/two_sources.sh" two.db
hostile=$(printf 'a\033[2J\nb')
sqlite3 two.db "UPDATE source SET name = '$hostile' WHERE id = 2;
	INSERT INTO list VALUES (1, '$hostile', '$hostile'); INSERT INTO list_item VALUES (1, 2, 5);
	INSERT INTO note VALUES (9, 2, 5, '$hostile' || char(8238), '$hostile')"
sqlite3 small.db "UPDATE feature_detail SET intervals = json_set(intervals, '\$.definition', char(27) || '[2J' || char(8238))"
{
	gloss features -d small.db
	gloss show 5 -d small.db --full -n 100
	gloss show 0 -d small.db -n 100
	gloss find -d small.db --text '31mred OR red'
	gloss find -d small.db --regex red
	gloss find -d small.db --of 5
	echo red | gloss find -d small.db --like -
	gloss find -d small.db --of 2 --json
	gloss sql -d small.db "SELECT text FROM vocab UNION ALL SELECT text FROM context UNION ALL SELECT text FROM explanation"
	gloss show 5 -d small.db --json
	gloss find -d small.db --text red --json
	gloss label 5 -d small.db
	gloss label 5 -d two.db --source "$hostile" --json
	gloss list -d two.db
	gloss list "$hostile" -d two.db
	gloss note 5 -d two.db --source "$hostile"
	gloss show 5 -d two.db --source "$hostile" -n 1
	gloss sources -d two.db
	gloss similar 5 -d two.db --source "$hostile" --in small
	gloss similar --duplicates -d two.db
	gloss features -d two.db --all-sources --list "$hostile"
	gloss features -d two.db 2>&1
	gloss features -d small.db --list "$(printf '\033[2J')" 2>&1
	gloss features -d small.db --sort "$(printf '\033[2J')" 2>&1
} >out
wc -l <out | tr -d ' ' | grep -vx 0 >/dev/null && echo "something was printed"
LC_ALL=C tr -d '\n\40-\176\200-\377' <out | wc -c | tr -d ' '
grep -c "$(printf '\342\200\256')" out
grep -c 'U+001B' out >/dev/null && echo "escapes are shown as <U+001B>"
