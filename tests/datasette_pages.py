"""Serve a store with Datasette and ask for every page of it: datasette_pages.py STORE. Exits 1 when one is not as it should be."""
import json, re, subprocess, sys, tempfile, time, urllib.error, urllib.request
from urllib.parse import quote

store = sys.argv[1]
name = "store"
bad = []


def ask(path):
    start = time.monotonic()
    try:
        with urllib.request.urlopen(base + path, timeout=60) as reply:
            status, body = reply.status, reply.read().decode("utf-8")
    except urllib.error.HTTPError as e:
        status, body = e.code, e.read().decode("utf-8", "replace")
    return status, body, time.monotonic() - start


def expect(path, *wanted):
    """The page, which must be 200 and hold each pattern."""
    status, body, seconds = ask(path)
    times.append((seconds, path))
    if status != 200:
        plain = re.sub(r"<[^>]*>|\s+", " ", body)
        bad.append(f"{path}: {status} {plain[:300]}")
    for pattern in wanted:
        if not re.search(pattern, body):
            bad.append(f"{path}: without {pattern}")
    return body


times = []
with tempfile.TemporaryDirectory() as folder:
    with open(f"{folder}/log", "w+b") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "datasette", "serve", store, "--host", "127.0.0.1", "--port", "0",
             # counting all rows of a large view takes over its second, which 0.65 forgives but where it looks for facets
             "--setting", "suggest_facets", "off"],
            stdout=log, stderr=subprocess.STDOUT)
        try:
            for _ in range(300):
                log.seek(0)
                found = re.search(rb"http://127\.0\.0\.1:\d+", log.read())
                if found or server.poll() is not None:
                    break
                time.sleep(0.1)
            if not found:
                log.seek(0)
                sys.exit("datasette did not start: " + log.read().decode())
            base = found.group().decode()
            name = json.loads(expect("/-/databases.json"))[0]["name"]
            everything = json.loads(expect(f"/{quote(name)}.json"))
            tables = [t["name"] for t in everything["tables"]]
            views = [v["name"] for v in everything["views"]]
            expect(f"/{name}")
            for relation in tables + views:
                expect(f"/{name}/{relation}", r'<table class="rows-and-columns"|0 rows|0 records')
                page = json.loads(expect(f"/{name}/{relation}.json?_shape=objects&_size=5"))
                if "rows" not in page:
                    bad.append(f"{relation}.json: no rows")
            # A feature by its primary key; what refers to what; full text.
            feature = json.loads(expect(f"/{name}/feature.json?_shape=array&n_fires__gt=10&_size=1"))[0]["feature"]
            expect(f"/{name}/feature/1,{feature}", r"n_contexts")
            expect(f"/{name}/feature", rf'href="/{name}/source/1"', rf'href="/{name}/feature/1,')
            expect(f"/{name}/source/1", rf"/{name}/feature\?source_id=1")
            expect(f"/{name}/context", r'name="_search"')
            expect(f"/{name}/explanation", r'name="_search"')
            word = re.search(r"[a-z]{4,}", json.loads(expect(f"/{name}/context.json?_shape=array&_size=1"))[0]["text"]).group()
            if not json.loads(expect(f"/{name}/context.json?_shape=array&_search={word}")):
                bad.append(f"no context has the word {word}, which one has")
            for view in ("example_text", "example_token", "np_activation", "feature_logit", "feature_list"):
                expect(f"/{name}/{view}?source_id=1&feature={feature}")
        finally:
            server.terminate()
            server.wait()
print(f"{len(times)} pages of {len(tables)} tables and {len(views)} views; the slowest:")
for seconds, path in sorted(times, reverse=True)[:4]:
    print(f"  {seconds:.2f} s {path}")
if bad:
    sys.exit("\n".join(bad))
