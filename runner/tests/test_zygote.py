"""What a zygote does before and after a fork, without one."""

from __future__ import annotations

import random

import numpy as np
import pytest

from flowcell_runner import zygote


@pytest.mark.parametrize("make", [random.Random, np.random.default_rng, np.random.RandomState])
def test_generators_that_were_there_before_a_fork_do_not_repeat(make):
    generator = make(7)
    generators = zygote._generators()
    assert any(found is generator for found in generators)

    zygote._reseed(generators)

    assert generator.random() != make(7).random()
