"""Import speed and memory, reading a recommendation under load, memory of an idle service.

    python -m benchmarks.service_speed

The first 384-well reader file is sent to a fresh service twice: at once when it answers, and after
it had ten seconds to load what judges plates.

Aims: a reader file to its verdict in under 5 s, also the first; 10,000 rows committed in under 3 s
with memory flat in the number of rows; GET of a recommendation of 1,000 candidates with p99 under
50 ms for 8 clients; an idle service under 400 MB in all processes.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import random
import time

from benchmarks.file_samples import LETTERS
from benchmarks.machine import describe
from benchmarks.running import Running, resident_mb, running_service

N_COMPOUNDS, N_MEASURED, N_LINES = 40, 24, 12
DOSES = [0.1, 0.5, 2.0, 10.0]
CLIENTS, REQUESTS = 8, 100


def register(service: Running) -> str:
    """Compounds, cell lines and a campaign; returns its id."""
    compounds = [{"name": f"CPD-{i}"} for i in range(N_COMPOUNDS)]
    lines = [{"name": f"LINE-{i}"} for i in range(N_LINES)]
    service.call("POST", "/v1/compounds", {"compounds": compounds})
    service.call("POST", "/v1/cell-lines", {"cell_lines": lines})
    body = {
        "name": "speed",
        "compounds": [row["name"] for row in compounds],
        "cell_lines": [row["name"] for row in lines],
        "doses_um": DOSES,
    }
    return service.call("POST", "/v1/campaigns", body)[1]["id"]


def table(n_rows: int, seed: int) -> bytes:
    """A CSV of ``n_rows`` distinct wells of random pairs, some pairs being left to propose."""
    rng = random.Random(seed)
    rows = ["cell_line,compound_1,dose_1_um,compound_2,dose_2_um,viability_fraction,replicate"]
    for row in range(n_rows):
        a, b = rng.sample(range(N_MEASURED), 2)
        doses = rng.choice(DOSES), rng.choice(DOSES)
        rows.append(
            f"LINE-{rng.randrange(N_LINES)},CPD-{a},{doses[0]},CPD-{b},{doses[1]},"
            f"{rng.random():.4f},{row}"
        )
    return "\n".join(rows).encode()


def time_import(service: Running, campaign: str, n_rows: int) -> None:
    """Submit ``n_rows`` and report seconds and the peak memory of the API process."""
    content = table(n_rows, seed=n_rows)
    path = f"/v1/campaigns/{campaign}/submissions"
    started = time.perf_counter()
    service.call("POST", path, content, "text/csv")
    seconds = time.perf_counter() - started
    peak = resident_mb(service.process.pid, "VmHWM")
    print(f"import {n_rows:7,} rows: {seconds:6.2f} s, API peak memory {peak:5.0f} MB", flush=True)


def read_often(port: int, key: str, path: str, seconds: multiprocessing.Queue) -> None:
    """One client: the same GET again and again on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    taken = []
    for _ in range(REQUESTS):
        started = time.perf_counter()
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        content = response.read()
        taken.append(time.perf_counter() - started)
        if response.status != 200:
            raise RuntimeError(content[:300])
    seconds.put((taken, len(json.loads(content)["candidates"]), len(content)))


def time_reading(service: Running, campaign: str) -> None:
    """p50, p99 and maximum of GET of a recommendation with 8 clients at once."""
    path = f"/v1/campaigns/{campaign}/recommendations"
    job = service.finish(service.call("POST", path, {"acquisition": "random"})[1])
    path = job["result"]["recommendation"]
    queue: multiprocessing.Queue = multiprocessing.Queue()
    clients = [
        multiprocessing.Process(target=read_often, args=(service.port, service.key, path, queue))
        for _ in range(CLIENTS)
    ]
    started = time.perf_counter()
    for client in clients:
        client.start()
    results = [queue.get(timeout=300) for _ in clients]
    for client in clients:
        client.join()
    wall = time.perf_counter() - started
    taken = sorted(second for result in results for second in result[0])
    p50, p99 = (1000 * taken[int(len(taken) * q)] for q in (0.5, 0.99))
    print(
        f"GET recommendation ({results[0][1]} candidates, {results[0][2] / 1024:.0f} KiB), "
        f"{CLIENTS} clients x {REQUESTS}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
        f"max {1000 * taken[-1]:.1f} ms, {len(taken) / wall:.0f} requests/s",
        flush=True,
    )


def report_memory(service: Running, when: str) -> None:
    """Resident memory of every process of the service."""
    sizes = [resident_mb(pid) for pid in service.processes()]
    shown = " + ".join(f"{size:.0f}" for size in sizes)
    print(f"memory {when}: {shown} = {sum(sizes):.0f} MB", flush=True)


def reader_plate(barcode: str, seed: int) -> tuple[bytes, bytes]:
    """The map of a 384-well plate and what a reader says of it, each as CSV."""
    rng = random.Random(seed)
    told = ["barcode,format,well,role,cell_line,compound_1,dose_1_um"]
    rows = []
    for letter in LETTERS[:16]:
        rows.append([str(round(rng.gauss(1e5, 4e3))) for _ in range(24)])
        for column in range(24):
            well, dose = f"{letter}{column + 1}", DOSES[column % len(DOSES)]
            control = f"{barcode},384,{well},vehicle,LINE-0,,"
            single = f"{barcode},384,{well},single,LINE-0,CPD-{column},{dose}"
            told.append(control if column % 6 == 0 else single)
    readings = [f"Barcode,{barcode}", *(",".join(row) for row in rows)]
    return "\n".join(told).encode(), "\n".join(readings).encode()


def time_reader_files(service: Running, campaign: str, when: str) -> None:
    """Seconds from a reader file to its verdict: the first of this service, and the next."""
    taken = []
    for number in (1, 2):
        told, readings = reader_plate(f"P{number}", number)
        service.call("POST", f"/v1/campaigns/{campaign}/plates", told, "text/csv")
        path = f"/v1/campaigns/{campaign}/files?filename=P{number}.csv"
        started = time.perf_counter()
        upload = service.call("POST", path, readings, "text/csv")[1]
        taken.append(time.perf_counter() - started)
        if upload["preview"]["plates"][0]["verdict"] is None:
            raise RuntimeError("the plate was not judged")
    print(f"reader file to verdict, {when}: first {taken[0]:.2f} s, second {taken[1]:.2f} s")


def time_first_files() -> None:
    """Start twice: a file at once, and a file after ten seconds."""
    for wait, when in ((0, "sent at once"), (10, "sent after 10 s")):
        started = time.perf_counter()
        with running_service() as service:
            ready = time.perf_counter() - started
            campaign = register(service)
            time.sleep(wait)
            print(f"ready after {ready:.1f} s", flush=True)
            time_reader_files(service, campaign, when)


def main() -> None:
    print(describe())
    time_first_files()
    with running_service() as service:
        time.sleep(3)
        report_memory(service, "idle, fresh")
        campaign = register(service)
        for n_rows in (10_000, 20_000, 100_000):
            time_import(service, campaign, n_rows)
        time_reading(service, campaign)
        report_memory(service, "after a recommendation")


if __name__ == "__main__":
    main()
