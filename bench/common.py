"Fair timing of things that do the same: in one process, in turn, the median of many rounds."

import statistics
import time


def seconds(f, number):
    "Of one call, measured over `number` calls."
    start = time.perf_counter()
    for _ in range(number):
        f()
    return (time.perf_counter() - start) / number


def compare(rounds=15, **functions):
    """Print the median milliseconds of each function and its ratio to the first. Each is called
    for about 20 ms at a time, as timeit does, and they take turns, so that a drifting
    machine hurts all alike. Returns the medians."""
    numbers = {
        name: max(1, int(0.02 / (seconds(f, 1) and seconds(f, 2)))) for name, f in functions.items()
    }
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, f in functions.items():
            times[name].append(seconds(f, numbers[name]) * 1000)
    medians = {name: statistics.median(t) for name, t in times.items()}
    first = next(iter(medians.values()))
    for name, t in times.items():
        print(
            f'  {name:34} {medians[name]:10.3f} ms   ({min(t):.3f} to {max(t):.3f})   '
            f'x {medians[name] / first:.2f}'
        )
    return medians
