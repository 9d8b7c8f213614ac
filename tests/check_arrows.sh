#!/bin/sh
# Every #include goes along the arrows of the design: cli -> explain -> store -> base, cli -> sae -> base; from outside a
# folder only its public header; each library from the one folder that may use it. And only cli/ prints or exits (but for
# base/late.c, which stands in for the dynamic linker).
set -u
root=${GLOSS_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
cd "$root" || exit 1
find base sae store explain cli tests bench -name '*.[ch]' | sort | xargs awk '
	BEGIN {
		own["base"] = "^base/"
		own["sae"] = "^(sae/|base/base\\.h$)"
		own["store"] = "^(store/|base/base\\.h$)"
		own["explain"] = "^(explain/|(base/base|store/store)\\.h$)"
		own["cli"] = "^(cli/|(base/base|sae/sae|store/store|explain/explain)\\.h$)"
		own["tests"] = "^(base|sae|store|explain|cli|tests)/"
		own["bench"] = "^((base|sae|store|explain|cli|bench)/|tests/support_[a-z]+\\.h$)"

		libc = "^(assert|ctype|dirent|dlfcn|endian|errno|fcntl|float|fnmatch|ftw|getopt|glob|inttypes|limits|locale|malloc|math|netdb|poll|" \
			"pthread|sched|semaphore|setjmp|signal|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|" \
			"string|strings|time|unistd|wchar|arpa/inet|netinet/in|netinet/tcp|pty|sys/[a-z]+)\\.h$"
		libraries["base"] = "^(cjson/cJSON\\.h|openssl/.*|zlib\\.h|cpuid\\.h|immintrin\\.h)$"
		libraries["sae"] = "^(cblas\\.h|openblas_config\\.h|immintrin\\.h|zip\\.h|zlib\\.h)$"
		libraries["store"] = "^(sqlite3\\.h|pcre2\\.h)$"
		libraries["explain"] = "^curl/curl\\.h$"
		libraries["cli"] = "^microhttpd\\.h$"
		libraries["tests"] = "^((check|microhttpd|sqlite3|cblas|zip|zlib|immintrin)\\.h|openssl/.*)$"
		libraries["bench"] = "^(cblas|microhttpd|sqlite3|immintrin)\\.h$"
	}
	function complain(why) { print FILENAME ":" FNR ": " why ": " $0; bad = 1 }
	FNR == 1 { folder = FILENAME; sub(/\/.*/, "", folder) }
	/^[ \t]*#[ \t]*include/ {
		name = $0
		if (name ~ /include[ \t]*"/) {
			gsub(/^[^"]*"|".*$/, "", name)
			if (name !~ own[folder])
				complain("against the arrows")
			else if ((getline line < name) < 0)
				complain("written from the root of the repository it would be found")
			close(name)
		} else if (name ~ /include[ \t]*</) {
			gsub(/^[^<]*<|>.*$/, "", name)
			if (name !~ libc && name !~ libraries[folder])
				complain("not a library of " folder "/")
		} else {
			complain("neither \"\" nor <>")
		}
	}
	folder ~ /^(base|sae|store|explain)$/ && /(^|[^A-Za-z0-9_])(printf|puts|putchar|perror|exit|_exit|abort)\(/ \
		&& !/^[ \t]*(\/?\*|\/\/)/ && FILENAME !~ /^base\/(banned\.h|late\.c)$/ { complain("only cli/ prints or exits") }
	END { exit bad }'
