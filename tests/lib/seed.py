# SPDX-License-Identifier: BSD-2-Clause
"""Random draws that can be repeated: the seed is drawn and printed, which pytest shows where a test fails."""

import os
import random


def drawn(knob="WARREN_SEED"):
    """A random.Random by the seed of that environment variable; without one, by another each time. `repeat`: the setting."""
    seed = int(os.environ.get(knob) or random.randrange(1 << 32))
    draw = random.Random(seed)
    draw.repeat = f"{knob}={seed}"
    print(draw.repeat)
    return draw
