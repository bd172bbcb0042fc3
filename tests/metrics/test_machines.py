"""Every kind of processor finds the same numbers, to the last digit."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.metrics import fixed_set

ROOT = Path(__file__).parents[2]

# Settings under which libraries take the instructions of other processors, where this one has them to choose from.
PROCESSORS: dict[str, dict[str, str]] = {
    "without VNNI": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "without AVX-512": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    },
    "of another make": {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "with two threads": {"OMP_NUM_THREADS": "2"},
}


def _run(*command: str, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def here() -> fixed_set.Findings:
    return fixed_set.measure()


@pytest.mark.slow
@pytest.mark.parametrize("processor", PROCESSORS)
def test_every_processor_finds_the_same_numbers(processor: str, here: fixed_set.Findings) -> None:
    there: dict[str, Any] = json.loads(
        _run("-m", "tests.metrics.fixed_set", environment=PROCESSORS[processor]).splitlines()[-1]
    )
    assert there["found"] == here
    # Where int8 products saturate, nothing says so: they must not be used.
    assert there["exact"] or not there["used"]


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="int8 products are for x86 processors")
@pytest.mark.parametrize("processor", ["without VNNI", "without AVX-512"])
def test_products_and_distances_are_exact_with_every_processor(processor: str) -> None:
    out = _run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not medium and not autocast and not bf16"),
        *(f"tests/metrics/test_{name}.py" for name in ("products", "distances")),
        environment=PROCESSORS[processor],
    )
    assert " passed" in out
