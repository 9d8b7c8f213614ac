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
ls
