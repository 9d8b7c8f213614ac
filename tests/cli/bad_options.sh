# Wrong use says in one line which option, which value and what would do; a config file's name is in its errors.
try() {
	gloss "$@" 2>&1
	echo "exit $?"
}
try inspect
try inspect d --banana
try inspect d --hold 0.5
try inspect d --holdout 1.5
try inspect d --threads=many
try inspect d --split docs
try inspect d --no-threads
try inspect d --threads
try inspect d -q

echo '{"holdout": 2}' >config
try inspect d --config config
echo '{"hold_out": 0.5}' >config
try inspect d --config config
echo '{"holdout": 0.5' >config
try inspect d --config config
try inspect d --config nowhere
