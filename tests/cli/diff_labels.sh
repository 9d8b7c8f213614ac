# Labels compared: what is asked for in vain, before anything is spent.
sh "$GLOSS_SOURCE/tests/two_sources.sh" two.db
try() { gloss diff small other -d two.db "$@" 2>&1 || echo "exit $?"; }
try --base-url http://127.0.0.1:9/v1
try --embed-model m
try --api-key-env X
try --labels
try --labels --base-url http://127.0.0.1:9/v1
try --labels --base-url http://127.0.0.1:9/v1 --embed-model m --csv
try --labels --base-url http://127.0.0.1:9/v1 --embed-model m --api-key-env NO_SUCH_VARIABLE
try --labels --base-url http://127.0.0.1:9/v1 --embed-model m
try --dry-run
try --labels --base-url http://127.0.0.1:9/v1 --embed-model m --price p.json
# what would be sent, and what it would cost; no key is looked for, and no log is made
for source in small other; do
	for f in 0 1 2 4; do gloss label $f "words of $source, $f" -d two.db --source $source >answer; done
done
printf '{"m":{"input":2,"output":0}}' >p.json
try --labels --base-url http://127.0.0.1:9/v1 --embed-model m --api-key-env NO_SUCH_VARIABLE --dry-run --price p.json | sed -n '/^labels/,$p'
rm answer p.json
ls
