"""What a zygote does before and after a fork, without one."""

from __future__ import annotations

import gc
import random

import numpy as np
import pytest

from flowcell_runner import zygote


def _other_bits(seed):
    return np.random.RandomState(np.random.PCG64(seed))


@pytest.mark.parametrize("make", [random.Random, np.random.default_rng, np.random.RandomState, _other_bits])
def test_generators_that_were_there_before_a_fork_do_not_repeat(make):
    generator = make(7)
    try:
        assert any(found is generator for found in zygote._generators())
    finally:
        gc.unfreeze()

    zygote._reseed([generator])

    assert generator.random() != make(7).random()


def test_what_is_spawned_after_a_fork_does_not_repeat():
    generator = np.random.default_rng(7)

    zygote._reseed([generator])

    assert generator.spawn(1)[0].random() != np.random.default_rng(7).spawn(1)[0].random()
