# Several scorers in a row: each says what it did; JSON holds a list. Options that do not go together.
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
try() {
	"$@" 2>&1 | sed 's/[0-9.]* s$/N s/'
}
gloss label 0 'cats' -d small.db >/dev/null
try gloss score -d small.db --features 0 --scorer detection,fuzz
gloss score -d small.db --features 0 --scorer fuzz,detection --json 2>&1 | grep -o '"scorer":"[a-z]*","measure":"[a-z ]*","chance":[0-9.]*'
try gloss score -d small.db --features 0 --scorer fuzz --only-new
try gloss score -d small.db --features 0 --scorer detection,intruder
try gloss score -d small.db --scorer detection,gossip
echo x >t.txt
try gloss score -d small.db --scorer detection,fuzz --base-url http://127.0.0.1:9/v1 --model m --template t.txt
try gloss score -d small.db --embed-model e
try gloss score -d small.db --precision 0.7
try gloss score -d small.db --peak 2
try gloss score -d small.db --choice best
try gloss score -d small.db --group 2
try gloss score -d small.db --scorer detection,fuzz --group 4
try gloss score -d small.db --scorer detection,surprisal --steer-kl 1
try gloss score -d small.db --subject http://127.0.0.1:9/v1
try gloss score -d small.db --scorer detection,fuzz,detection
try gloss score -d small.db --n 3
try gloss score -d small.db --scorer surprisal
try gloss score -d small.db --subject-model m
try gloss score -d small.db --scorer surprisal --subject http://127.0.0.1:9/v1 --replay
try gloss score -d small.db --scorer surprisal --subject http://127.0.0.1:9/v1 --retries 0
try gloss score -d small.db --scorer surprisal --subject ftp://127.0.0.1:9/v1
try gloss score -d small.db --scorer embedding
try gloss score -d small.db --scorer intervention
try gloss score -d small.db --scorer intervention --base-url http://127.0.0.1:9/v1 --model m
try gloss score -d small.db --scorer intervention --prompts 4
try gloss score -d small.db --scorer intervention --steer-kl 0
try gloss score -d small.db --scorer simulation --features 0
