# Words in scripts without spaces between words: trigrams, and reading for words of under three characters.
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
sqlite3 small.db "INSERT INTO explanation (source_id, feature, text, method, created) VALUES
	(1, 1, '気候変動の話 and climate', 'person', '2026'), (1, 2, 'ภาษาไทย', 'person', '2026'), (1, 4, 'שלום climate', 'person', '2026')"
gloss find -d small.db --text 気候変動
gloss find -d small.db --text 気候
gloss find -d small.db --text '日本 NOT 猫' -n 2
gloss find -d small.db --text '猫' -n 1 --color always | cat -v
gloss find -d small.db --text 'climate OR ภาษา'
gloss find -d small.db --text 'שלום'
gloss find -d small.db --text 'the 日本' -n 1 --json
