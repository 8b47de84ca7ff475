"""How long to train, at which rate and in which order: pure, so that a resumed run decides as the first one did."""

import math

import numpy as np


def planned_steps(examples: int, batch_size: int, epochs: float, least: int) -> int:
    """Steps for `epochs` passes, the last of which may be a part; `least` if that is more, since few examples need it."""
    return max(least, math.ceil(examples * epochs / batch_size))


def fitting_steps(done: int, planned: int, seconds_left: float, seconds_per_step: float) -> int:
    """The total number of steps that `seconds_left` allows after `done`: one more at least, `planned` at most."""
    more = min(planned - done, max(0.0, seconds_left) / seconds_per_step) if seconds_per_step > 0 else planned - done
    return done + max(1, math.floor(more))


def learning_rate(step: int, total: int, warmup: int, peak: float) -> float:
    """Linear warmup over `warmup` steps, then a cosine to zero at `total`; `step` counts from 0."""
    if step < warmup:
        return peak * ((step + 1) / warmup)
    progress = (step - warmup) / max(1, total - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def batch(step: int, examples: int, batch_size: int, seed: int) -> list[int]:
    """Indices of the examples of a step: passes over fresh permutations, each a function of (seed, pass) alone.

    That makes the order part of no state: a checkpoint need not hold a random generator.
    """
    places = range(step * batch_size, (step + 1) * batch_size)
    orders = {place // examples: order(examples, seed, place // examples) for place in places}
    return [int(orders[place // examples][place % examples]) for place in places]


def order(examples: int, seed: int, epoch: int) -> list[int]:
    """The permutation of one pass."""
    return [int(index) for index in np.random.default_rng((seed, epoch)).permutation(examples)]
