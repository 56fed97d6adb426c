"""Kill, damage and spoil runs at random, and count what is lost.

    python -m tests.stress --faults=100 --seed=0

Every fault is done to a command as a user starts it. Then the same command is given
again, without a fault, until it is done. A fault is survived if the end is that of an
undisturbed run: the same arrays bit for bit, records, numbers, files. The table on
stdout says how many were; the status is 1 if one was not.
"""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

# Before JAX, which then finds where compiled programs are kept.
import experiments  # noqa: F401, I001
import numpy as np

from tests.stress.bench import Bench, Lost, finish, train_words
from tests.stress.scenarios import SCENARIOS


def main() -> int:
    """Run all scenarios, each until it has done its share of the faults."""
    parser = argparse.ArgumentParser(
        description="Kill, damage and spoil runs at random, and count what is lost."
    )
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=SCENARIOS, action="append")
    asked = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="stress"))
    whole = folder / "whole"
    first = Bench(np.random.default_rng(0), folder, whole, 0.0)
    finish(first, train_words(folder / "warm"))  # Compiles what all others load.
    start = time.monotonic()
    finish(first, train_words(whole))
    seconds, lost = time.monotonic() - start, 0
    print("| fault | done | survived | lost |\n|---|---:|---:|---:|", flush=True)
    for index, (name, (scenario, share)) in enumerate(SCENARIOS.items()):
        if asked.only and name not in asked.only:
            continue
        place, rng = folder / str(index), np.random.default_rng([asked.seed, index])
        place.mkdir()
        bench, done, failures = Bench(rng, place, whole, seconds), 0, []
        while done < max(1, round(share * asked.faults)):
            try:
                done += scenario(bench)
            except Lost as error:
                done += 1
                failures.append(str(error))
        lost += len(failures)
        cells = (name, done, done - len(failures), len(failures))
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
        for failure in failures:
            print(f"lost: {name}: {failure}", file=sys.stderr, flush=True)
    if not lost:
        shutil.rmtree(folder)
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
