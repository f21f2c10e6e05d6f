#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Checks and speed on a CUDA device, in at most 8 minutes and without a network:
#   bash benchmarks/on_device.sh [--cpu] [--json FILE] [--seconds 450]
# It takes the Python that PYTHON names (python3), which has torch. What else is missing there may
# lie as wheels in .wheels, which git ignores and which this command fills elsewhere:
#   pip download --no-deps --only-binary=:all: --python-version 3.12 -d .wheels \
#       safetensors scikit-learn joblib threadpoolctl scipy h5py tqdm wrapt
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
python=${PYTHON:-python3}
missing=$("$python" - <<'END'
from importlib.util import find_spec

needed = "torch numpy scipy h5py sklearn joblib threadpoolctl safetensors tqdm wrapt"
print(*[name for name in needed.split() if find_spec(name) is None])
END
) || exit
if [ -n "$missing" ]; then
    if ! compgen -G ".wheels/*.whl" >/dev/null; then
        echo "$python lacks: $missing. Put their wheels into .wheels" >&2
        exit 2
    fi
    site=$(mktemp -d) || exit
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install -q --no-index --no-deps --target "$site" .wheels/*.whl || exit
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
timeout 480 "$python" -u -m benchmarks.on_device "$@"
