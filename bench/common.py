"Fair timing of things that do the same: in one process, in turn, the median of many rounds."
import statistics
import time


def compare(rounds=15, **functions):
    "Print the median milliseconds of each function and its ratio to the first; they take turns, so a drifting machine hurts all alike. Returns the medians."
    for f in functions.values(): f()  # warm
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, f in functions.items():
            start = time.perf_counter()
            f()
            times[name].append((time.perf_counter() - start) * 1000)
    medians = {name: statistics.median(t) for name, t in times.items()}
    first = next(iter(medians.values()))
    for name, t in times.items(): print(f'  {name:34} {medians[name]:10.3f} ms   ({min(t):.3f} to {max(t):.3f})   x {medians[name] / first:.2f}')
    return medians
