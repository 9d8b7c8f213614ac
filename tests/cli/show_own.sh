# What a person said of a feature, on its page; features at random.
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
timeless() { sed 's/2[0-9]*-[0-9]*-[0-9]*T[0-9:]*Z/TIME/g'; }
{
	gloss label 0 -d small.db 'tabby cats'
	gloss label 0 -d small.db --undo
	gloss label 0 -d small.db 'all cats'
	gloss note 0 -d small.db 'not on lions
nor on dogs'
	gloss list 'pets, or nearly' -d small.db --add 0
	gloss list pets -d small.db --add 0,6
	gloss list 'other pets' -d small.db --add 0
} >/dev/null 2>&1
gloss show 0 -d small.db --examples 0 | timeless | sed -n '1p;/^labels/,/^activations/p'
for seed in 1 2 3 4 5 6; do
	gloss show random -d small.db --examples 0 --seed $seed | head -n 1
done
gloss show --random -d small.db --examples 0 --seed 6 | head -n 1
gloss show --random -d small.db --examples 0 --seed 6 --where 'dense AND feature <> 2' | head -n 1
gloss show random -d small.db --examples 0 --where 'label IS NULL AND top_token_text = " the"' | head -n 1 | tr 0-9 N
gloss show random -d small.db --examples 0 --where "label IS NULL AND top_token_text = ' the'" | head -n 1 | tr 0-9 N
gloss show random -d small.db --json --examples 0 | cut -c 1-40
