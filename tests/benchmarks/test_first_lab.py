"""The first ``Lab`` of a process, keeper included, and the next ones."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median

from measure import Figures

AT_MOST = 0.3
PROCESSES = 5

PROGRAM = """
import json, time
begun = time.perf_counter()
from emulator import Lab
imported = time.perf_counter()

def opened():
    begun = time.perf_counter()
    with Lab() as lab:
        bare = time.perf_counter()
        lab.create_vpc("10.16.0.0/16").create_subnet("10.16.0.0/24").run_instance()
        return bare - begun, time.perf_counter() - begun

first, *others = [opened() for _ in range(8)]
print(json.dumps({"import": imported - begun, "first": first, "others": others}))
"""


def test_the_first_lab_of_a_process_and_the_next(figures: Figures) -> None:
    runs = []
    for _ in range(PROCESSES):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], stdout=subprocess.PIPE, check=True)
        runs.append(json.loads(done.stdout))
    imported = median(run["import"] for run in runs)
    bare, with_cvm = (median(run["first"][kind] for run in runs) for kind in (0, 1))
    next_bare, next_with_cvm = (median(other[kind] for run in runs for other in run["others"]) for kind in (0, 1))
    figures.note(
        "first lab",
        import_s=imported,
        first_s=bare,
        next_s=next_bare,
        ratio=next_bare / bare,
        first_with_cvm_s=with_cvm,
        next_with_cvm_s=next_with_cvm,
        ratio_with_cvm=next_with_cvm / with_cvm,
    )

    assert next_bare / bare <= AT_MOST
    assert next_with_cvm / with_cvm <= AT_MOST
