# Tables as CSV; sqlite3 reads them back; what is refused.
exec 2>&1
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
try() { gloss export -d small.db "$@" || echo "exit $?"; }
try -o most | sed 's/^most: .*/most/'
ls most | wc -l
try -o all --all --quiet | sed 's/: .*//'
ls all | wc -l
try -o both --all --table label
ls all | grep -E 'fts|^feature_l|^vocab'
tr -d '\r' <all/feature_logit.csv | head -3
sqlite3 -bail small.db ".mode csv" ".import all/explanation.csv back" ".import all/vocab.csv vocab_back" \
	"SELECT count(*) FROM back b JOIN explanation e ON e.id = b.id AND e.text = b.text AND ifnull(e.rule, '') = b.rule" \
	"SELECT count(*) FROM vocab_back b JOIN vocab v ON v.token = b.token AND lower(hex(v.bytes)) = b.bytes AND v.text = b.text"
sqlite3 small.db "DROP TABLE back" "DROP TABLE vocab_back"
try -o two --table label --table feature_list --json
try -o two
try -o two --table label --force && ls two
echo dear >two/letter.txt
try -o two --force
ls two
try -o one --table banana
try -o one --table label --table label
try
try -o one --to parquet
try -o no/such/folder
try -o small.db --force
{ GLOSS_FAULT=write:1 gloss export -d small.db -o full || echo "exit $?"; } 2>&1 | sed "s/full[^/]*/full.../"
ls
