"""Damaged homes: nothing wrong is served, everything that is undamaged is kept.  tests/damage/run is the long form."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "damage"))

from damage import KINDS, Filled, attempt  # noqa: E402


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    return {dirty: Filled(tmp_path_factory.mktemp("filled"), dirty) for dirty in (False, True)}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[0].__name__)
def test_damage(homes, kind, tmp_path):
    """Every second kind on a home that was killed; the log then holds what the databases lack."""
    dirty = KINDS.index(kind) % 2 == 1
    result = attempt(homes[dirty], kind, 1, tmp_path / "x", tls=KINDS.index(kind) % 4 > 1)
    if result:
        print(f"{kind[0].__name__}: {result}")
