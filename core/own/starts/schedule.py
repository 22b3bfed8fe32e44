"""A schedule of my own: the learning rate falls as a power of the steps that are left."""


def polynomial(step: int, num_steps: int, power: float = 2.0) -> float:
    """The factor of the learning rate in a step, which counts from 0 over all epochs."""
    return (1.0 - step / num_steps) ** power
