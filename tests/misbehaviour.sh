#!/bin/sh
# What gloss says of each server that does what none should, and how it ends: a table, from a clean clone. The checks behind it are
# tests/test_misbehaviour.c; the client's own, with retries and rates, tests/test_servers.c.
# usage: sh tests/misbehaviour.sh
set -eu
cd "$(dirname "$0")/.."
cmake --preset release >/dev/null
cmake --build --preset release --target gloss test_misbehaviour >/dev/null
GLOSS_BIN=build/release/gloss build/release/test_misbehaviour
