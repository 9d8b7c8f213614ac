# What Gloss is built from, and what its tests need besides, by their names in Debian 12. Sourced, not run.
packages_build="gcc libc6-dev cmake ninja-build pkg-config libcjson-dev libcurl4-openssl-dev libmicrohttpd-dev
	libopenblas-dev libpcre2-dev libsqlite3-dev libssl-dev libzip-dev zlib1g-dev check"
packages_test="clang clang-format clang-tidy libclang-rt-14-dev mandoc nghttp2-proxy procps python3 python3-venv sqlite3 valgrind"
# A browser, where there is none: the one without windows, 105 packages in place of 173.
command -v chromium >/dev/null || packages_test="$packages_test chromium-headless-shell"

# packages_install NAME...: install those that are missing, as root or through sudo.
packages_install() {
	missing=
	for package in "$@"; do
		case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
		*" installed") ;;
		*) missing="$missing $package" ;;
		esac
	done
	[ -n "$missing" ] || return 0
	echo "installing:$missing" >&2
	as_root=
	[ "$(id -u)" = 0 ] || as_root=sudo
	$as_root apt-get update -qq >&2 &&
		$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
}
