#!/bin/sh
# The report and a plot as a browser has them, in headless Chromium: nothing on its console, all text and drawings in the document,
# labels with markup are text, nothing is cut off or wider than the window, the summary is seen whole. Returns 77, skipped, where no Chromium is.
set -eu
gloss=${GLOSS_BIN:?the program}
cd "${GLOSS_SOURCE:?the source folder}"
browser=$(command -v chromium-headless-shell || command -v chromium || :)
[ -n "$browser" ] || { echo "SKIPPED: no chromium here"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM

fail() { echo "browser: $*" >&2; exit 1; }

# open WIDTH FILE: the document as it is once loaded in $tmp/dom, what the console says in $tmp/console
open() {
	HOME=$tmp timeout 120 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --user-data-dir="$tmp/profile" \
		--window-size="$1,900" --enable-logging=stderr --dump-dom "file://$2" >"$tmp/dom" 2>"$tmp/log" || { tail "$tmp/log" >&2; fail "no document of $2"; }
	grep CONSOLE "$tmp/log" >"$tmp/console" || :
}
silent() { [ ! -s "$tmp/console" ] || { cat "$tmp/console" >&2; fail "$1: the console is not empty"; }; }
has() { grep -qF "$1" "$tmp/dom" || { cut -c1-300 "$tmp/dom" | head -n 60 >&2; fail "not in the document: $1"; }; }
count() { grep -o "$1" "$tmp/dom" | wc -l; }

# measured WIDTH FILE: what the page's drawings are like, and whether the page is wider than the window
cat >"$tmp/measure" <<'END_HTML'
<script>
const wrong = [], drawings = document.querySelectorAll("svg");
for (const svg of drawings) {
	const box = svg.getBoundingClientRect();
	if (box.width < 20 || box.height < 10)
		wrong.push(`a drawing of ${box.width} by ${box.height}`);
	for (const text of svg.querySelectorAll("text")) {
		const b = text.getBoundingClientRect();
		if (b.left < box.left - 1 || b.right > box.right + 1 || b.top < box.top - 1 || b.bottom > box.bottom + 1)
			wrong.push(`cut off: ${text.textContent}`);
	}
}
if (document.documentElement.scrollWidth > innerWidth)
	wrong.push(`${document.documentElement.scrollWidth} wide in a window of ${innerWidth}`);
const summary = document.querySelector("#summary + .scroll");
if (summary && innerWidth >= 1280 && summary.scrollWidth > summary.clientWidth)
	wrong.push(`a summary of ${summary.scrollWidth} in ${summary.clientWidth}`);
document.body.dataset.measured = [`${drawings.length} drawings`, ...wrong].join("; ");
</script>
END_HTML
measured() {
	{ sed "s/style-src 'unsafe-inline'/& ; script-src 'unsafe-inline'/" "$2"; cat "$tmp/measure"; } >"$tmp/page.html"
	open "$1" "$tmp/page.html"
	silent "$2"
	sed -n 's/.*data-measured="\([^"]*\)".*/\1/p' "$tmp/dom"
}
fits() {
	said=$(measured "$1" "$2")
	[ "$said" = "$3 drawings" ] || fail "$2 at $1: $said"
}

# That the browser tells what is wrong: a console error, a drawing with cut text, a page that is too wide.
cat >"$tmp/bad.html" <<'END_HTML'
<!doctype html><title>bad</title><body><script>console.error("boom")</script>
<p style="width: 3000px">wide</p><svg width=40 height=20><text x=30 y=15>beyond</text></svg>
END_HTML
open 1280 "$tmp/bad.html"
grep -q boom "$tmp/console" || { tail "$tmp/log" >&2; fail "a console error is not seen"; }
sed -i '/script/d' "$tmp/bad.html"
said=$(measured 1280 "$tmp/bad.html")
case $said in
"1 drawings; cut off: beyond; "*" wide in a window of "*) ;;
*) fail "what is wrong is not seen: $said" ;;
esac

# Labels and scores of a small SAE by rule, and labels that are markup.
"$gloss" train demo/data -o "$tmp/runs/sae" --features 256 --k 16 --batch 1024 --steps 40 --quiet >"$tmp/log"
"$gloss" index "$tmp/runs/sae" demo/data -d "$tmp/store.db" --source small --tokenizer demo/data/tokenizer.json --quiet >"$tmp/log"
"$gloss" explain -d "$tmp/store.db" --features 1-40 --quiet >"$tmp/log"
sqlite3 "$tmp/store.db" "UPDATE explanation SET text = '</td></svg><script>console.log(1)</script><img src=x onerror=alert(1)> & \"so\" on' WHERE feature = 3"
"$gloss" score -d "$tmp/store.db" --features 1-40 --scorer detection,fuzz --quiet >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; fail "no scores"; }
sqlite3 "$tmp/store.db" "INSERT INTO score(explanation_id, scorer, judge, value, low, high, baseline, n_positive, n_negative, n_failed, details, created)
	SELECT explanation_id, of.column1, of.column2, value, low, high, baseline, n_positive, n_negative, 0, details, created FROM score, (VALUES ('intervention', 'SmolLM2-135M-Instruct-0123456789ab'),
	('embedding', 'sentence-transformers/all-MiniLM-L6-v2'), ('confidence', 'meta-llama/Llama-3.3-70B-Instruct')) of WHERE scorer = 'detection'"
"$gloss" report "$tmp/store.db" -o "$tmp/report.html" >"$tmp/log"
open 1280 "$tmp/report.html"
silent "the report"
for id in summary scorers agreement cost best worst features; do has "<h2 id=\"$id\">"; done
[ "$(count '<svg')" -ge 8 ] || fail "$(count '<svg') drawings in the report"
[ "$(count '<svg')" = "$(grep -o '<svg' "$tmp/report.html" | wc -l)" ] || fail "not all drawings are in the document"
has '&lt;/td&gt;&lt;/svg&gt;&lt;script&gt;console.log(1)&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt; &amp; "so" on'
[ "$(count '<script\|<img')" = 0 ] || fail "a label became markup"
drawings=$(count '<svg')
fits 1280 "$tmp/report.html" "$drawings"
fits 1300 "$tmp/report.html" "$drawings"
fits 500 "$tmp/report.html" "$drawings"

# A plot, alone and in a page.
"$gloss" plot "$tmp/runs/sae" -o "$tmp/plot.svg" --title 'R&D <1>' >"$tmp/log"
open 1280 "$tmp/plot.svg"
silent "the plot"
has 'R&amp;D &lt;1&gt;</title>'
[ "$(count '<text')" -ge 8 ] || fail "$(count '<text') texts in the plot"
{ echo '<!doctype html><title>plot</title><body>'; cat "$tmp/plot.svg"; } >"$tmp/plot.html"
fits 1280 "$tmp/plot.html" 1
echo "browser: $drawings drawings of the report, at 1280, 1300 and 500; $("$browser" --version 2>/dev/null)"
