#!/usr/bin/env bash
# Runs the tests, or those named, with the lowest versions that pyproject.toml allows and what these bring, in .cache/minimum.
# PYTHON=python3.11 chooses another interpreter than the oldest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=.cache/minimum/bin/python
pytest=$(grep '^pytest==' tools/constraints.txt)
export UV_PYTHON_DOWNLOADS=never
.venv/bin/uv venv --quiet --allow-existing --python "${PYTHON:-3.10}" .cache/minimum
.venv/bin/uv pip install --python $python --resolution lowest-direct --build-constraints tools/constraints.txt \
  --reinstall-package audiorec-speech ".[train,mic,serve,import,lm]" "$pytest"
.venv/bin/uv pip list --python $python
exec env OMP_NUM_THREADS=1 $python -m pytest -m "not slow" --ignore tests/test_house.py --ignore tests/test_absence.py "$@"
