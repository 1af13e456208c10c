"""From the last result submitted to a ranked batch of 96 blocks, over HTTP, on the O'Neil screen.

    python -m benchmarks.loop_oneil [--data DIR] [--measured 2000] [--repeats 3]

A campaign holds the single agents and 2,000 measured blocks; about 17,000 can still be measured.
Each repeat submits one more block and asks for a recommendation. Aim: under 20 s on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.machine import describe
from benchmarks.running import Running, resident_mb, running_service
from service.demo.labs import Block, Table
from service.demo.oneil import OneilLab

BATCH = 96


def open_campaign(service: Running, lab: OneilLab) -> str:
    """Register everything and open the campaign; returns its path."""
    compounds = [{"name": c.name, "smiles": c.smiles} for c in lab.compounds]
    lines = [{"name": line.name, "features": line.features} for line in lab.cell_lines]
    service.call("POST", "/v1/compounds", {"compounds": compounds})
    service.call("POST", "/v1/cell-lines", {"cell_lines": lines})
    body = {
        "name": "O'Neil",
        "compounds": [{"compound": c.name, "doses_um": c.doses_um} for c in lab.compounds],
        "cell_lines": [line.name for line in lab.cell_lines],
        "pairs": [list(pair) for pair in lab.pairs],
        "objective": {"score": "bliss_mean", "hit_threshold": lab.hit_threshold},
        "limits": {"batch_size": BATCH},
    }
    return f"/v1/campaigns/{service.call('POST', '/v1/campaigns', body)[1]['id']}"


def submit(service: Running, campaign: str, table: Table) -> float:
    """Submit a table; returns seconds."""
    started = time.perf_counter()
    path = f"{campaign}/submissions?{urlencode(table.says)}"
    service.call("POST", path, table.csv.encode(), "text/csv")
    return time.perf_counter() - started


def one_round(service: Running, campaign: str, lab: OneilLab, block: Block, seed: int) -> None:
    """Submit one block, ask, wait, read; report where the time went."""
    table = lab.measure([block])
    started = time.perf_counter()
    submitting = submit(service, campaign, table)
    job = service.call("POST", f"{campaign}/recommendations", {"seed": seed})[1]
    while job["status"] in ("queued", "running"):
        job = service.call("GET", f"/v1/jobs/{job['id']}?wait=30")[1]
    if job["status"] != "succeeded":
        raise RuntimeError(job["problem"])
    answer = service.call("GET", job["result"]["recommendation"])[1]
    total = time.perf_counter() - started
    timings = answer["timings"]
    stages = ", ".join(f"{name[:-2]} {value:.1f}" for name, value in timings.items())
    known = timings["total_s"] + submitting
    print(
        f"{total:5.1f} s: submit {submitting:.2f}, job ({stages}), queue, publishing and HTTP "
        f"{total - known:.1f}; pool {answer['n_pool']:,}, batch {answer['n_batch']}",
        flush=True,
    )
    evidence = service.call("GET", job["result"]["model"])[1]["evidence"]
    print("   evidence:", json.dumps(evidence["model"]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data = Path(os.environ.get("NEXTROUND_DATA", "../shared/data")) / "oneil"
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--measured", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(describe())
    lab = OneilLab(options.data)
    order = sorted(lab.true_scores)
    random.Random(1).shuffle(order)
    with running_service() as service:
        campaign = open_campaign(service, lab)
        print(f"single agents submitted in {submit(service, campaign, lab.single_agents()):.1f} s")
        seconds = submit(service, campaign, lab.measure(order[: options.measured]))
        print(f"{options.measured} blocks submitted in {seconds:.1f} s", flush=True)
        for repeat in range(options.repeats):
            one_round(service, campaign, lab, order[options.measured + repeat], repeat)
        shown = " + ".join(f"{resident_mb(pid):.0f}" for pid in service.processes())
        print(f"memory of the processes afterwards: {shown} MB")


if __name__ == "__main__":
    main()
