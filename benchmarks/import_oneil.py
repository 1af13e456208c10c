"""A whole past screen in one go: every well of O'Neil through the API.

    python -m benchmarks.import_oneil [--data DIR] [--asynchronous] [--archive]

Registers the compounds and cell lines, opens the campaign, then submits all combination wells and
all single-agent wells, one table each. Aim: under 60 s from the first byte sent to the last row
committed on two cores, with less than 500 MB in the API process. With ``--asynchronous`` a worker
stores the tables and progress is polled.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.loop_oneil import open_campaign
from benchmarks.machine import describe
from benchmarks.running import Running, resident_mb, running_service
from service.demo.labs import Table
from service.demo.oneil import OneilLab

MAX_S, MAX_MB = 60.0, 500.0


def send(service: Running, campaign: str, table: Table, asynchronous: bool) -> float:
    """Submit a table and wait until it is committed; returns seconds."""
    started = time.perf_counter()
    says = {**table.says, **({"async": "true"} if asynchronous else {})}
    path = f"{campaign}/submissions?{urlencode(says)}"
    answer = service.call("POST", path, table.csv.encode(), "text/csv")[1]
    if asynchronous:
        service.finish(answer)
    return time.perf_counter() - started


def count_wells(service: Running, campaign: str) -> int:
    """Wells that the service says it has stored."""
    items = service.call("GET", f"{campaign}/submissions")[1]["items"]
    return sum(item["n_measurements"] for item in items)


def peaks(service: Running) -> dict[str, float]:
    """Peak resident memory in MB of the API process and of the worker."""
    found = {}
    for pid in service.processes():
        command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        found["worker" if "worker" in command else "API"] = resident_mb(pid, "VmHWM")
    return found


def cpu_s(service: Running) -> float:
    """Processor seconds of the service's processes so far."""
    ticks = 0
    for pid in service.processes():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def time_archive(service: Running, campaign: str) -> None:
    """Export the campaign, then bring it in as a copy, and say how long each took."""
    started = time.perf_counter()
    archive = service.call("POST", f"{campaign}/archives", {})[1]
    service.finish(service.call("GET", f"/v1/jobs/{archive['job_id']}")[1])
    content = service.fetch(f"/v1/archives/{archive['id']}/content")
    print(f"exported {len(content) / 2**20:.0f} MiB in {time.perf_counter() - started:.1f} s")
    started = time.perf_counter()
    archive = service.call("POST", "/v1/archives", content, "application/zip")[1]
    service.finish(service.call("GET", f"/v1/jobs/{archive['job_id']}")[1])
    print(f"imported it as a copy in {time.perf_counter() - started:.1f} s", flush=True)


def main() -> None:
    """Measure once and say whether the aims are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/oneil"))
    parser.add_argument("--asynchronous", action="store_true")
    parser.add_argument("--archive", action="store_true", help="then export and import it")
    options = parser.parse_args()
    print(describe(), f"load {os.getloadavg()[0]:.1f}", flush=True)
    lab = OneilLab(options.data)
    combinations, singles = lab.measure(list(lab.true_scores)), lab.single_agents()
    tables = {"combinations": combinations, "single agents": singles}
    with running_service() as service:
        campaign = open_campaign(service, lab)
        before, cpu = peaks(service), cpu_s(service)
        seconds = {}
        for name, table in tables.items():
            seconds[name] = send(service, campaign, table, options.asynchronous)
            rate = table.n_wells / seconds[name]
            print(f"{name}: {table.n_wells:,} wells, {seconds[name]:.1f} s, {rate:,.0f}/s")
        after, stored = peaks(service), count_wells(service, campaign)
        cpu = cpu_s(service) - cpu
        if options.archive:
            time_archive(service, campaign)
            print(f"then: {peaks(service)} MB")
    total = sum(seconds.values())
    print(f"{stored:,} wells committed in {total:.1f} s (aim {MAX_S:.0f} s), {cpu:.1f} s CPU")
    for name, peak in after.items():
        print(f"{name}: peak memory {peak:.0f} MB (aim {MAX_MB:.0f} MB), {before[name]:.0f} before")
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
