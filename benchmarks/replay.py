"""The bars of replayed campaigns, each as one command, and the rows for RESULTS.md.

    python -m benchmarks.replay oneil [--score bliss_max] [--model M --acquisition A]
    python -m benchmarks.replay plates        what whole plates of 24x12x1 cost
    python -m benchmarks.replay lines         RECOVER's protocol on single lines
    python -m benchmarks.replay simulated     small simulated screens, a minute
    python -m benchmarks.replay calibration --json FILE...    what reports promised and found

Each but the last runs ``nextround replay`` with the settings below, our strategy first, then the
peers' rules and chance; ``--strategy`` and the rest of the options change them. Rounds are kept
under --out: a run that was stopped goes on. Data: NEXTROUND_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from models.evaluation.past_campaign import SimulationSource
from models.evaluation.promises import campaigns_by_strategy, promises
from models.evaluation.replay_running import ReplayWatcher, run_replays
from models.evaluation.replay_study import Amount, ReplayStudy, Threshold, choose_strategies
from service.learning.replay_plot import save_promise_plot
from service.learning.replay_tables import promise_tables
from service.learning.replaying import ReplayOptions, replay_screen
from service.learning.terminal import plain_console

PEERS = "recover,batchie,one_hot_halves,one_hot_greedy,random"


@dataclass(frozen=True)
class Setting:
    """How a bar is measured."""

    batch: str
    initial: str
    rounds: int
    peers: str | None
    plates: str | None = None
    lines: str | None = None


SETTINGS = {
    "oneil": Setting("1%", "1%", 9, PEERS),
    "plates": Setting("1%", "1%", 9, None, plates="free,24x12x1"),
    "lines": Setting("30", "30", 20, "recover,random", lines="10"),
}


def main() -> None:
    """Run a bar and print its rows."""
    options = parse()
    if options.bar == "calibration":
        calibration(options.json, options.plot or options.out / "calibration.png")
        return
    print(describe())
    play = simulated if options.bar == "simulated" else measured
    report = play(options, options.out / options.bar)
    for line in markdown(report):
        print(line)


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bar", choices=[*SETTINGS, "simulated", "calibration"])
    parser.add_argument("--data", type=Path, default=None, help="a folder in the O'Neil layout")
    parser.add_argument("--score", default="bliss_mean")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--acquisition", default="hit_probability")
    parser.add_argument("--strategy", default=None, help="peers, or none")
    parser.add_argument("--threshold", default="10", help="a score, or a share such as 5%%")
    parser.add_argument("--rounds", type=int, default=0, help="0: those of the bar")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path("out/replay"))
    parser.add_argument("--json", type=Path, nargs="+", help="calibration: reports of replays")
    parser.add_argument("--plot", type=Path, default=None, help="calibration: where its PNG goes")
    options = parser.parse_args()
    if (options.bar == "calibration") != bool(options.json):
        parser.error("calibration needs --json FILE..., no other bar has it")
    return options


def calibration(files: Sequence[Path], plot: Path) -> None:
    """Print and draw what the batches of reports of replays promised and what they found."""
    console = plain_console()
    try:
        reports = [json.loads(path.read_text()) for path in files]
        found = {name: promises(own) for name, own in campaigns_by_strategy(reports).items()}
    except (OSError, ValueError) as error:
        raise SystemExit(f"these reports cannot be read: {error}") from error
    if not found:
        raise SystemExit("no batch of these reports was chosen by a model")
    for name, entry in found.items():
        for table in promise_tables(name, entry):
            console.print(table)
    save_promise_plot(found, plot)
    console.print(f"The curves are in {plot}.", soft_wrap=True)


def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A bar on a measured screen, by the command of the service."""
    setting = SETTINGS[options.bar]
    peers = setting.peers if options.strategy is None else options.strategy
    data = options.data or Path(os.environ.get("NEXTROUND_DATA", "../shared/data")) / "oneil"
    asked = ReplayOptions(
        data=data,
        score=options.score,
        models=options.model,
        acquisitions=options.acquisition,
        strategies=None if peers in (None, "none") else peers,
        batch=setting.batch,
        initial=setting.initial,
        rounds=options.rounds or setting.rounds,
        seeds=options.seeds,
        json_out=folder / f"{options.score}.json",
        plot_out=folder / f"{options.score}.png",
        lines=setting.lines,
        plates=setting.plates,
        threshold=options.threshold,
        jobs=options.jobs,
    )
    code = replay_screen(asked)
    if code not in (0, 1):
        raise SystemExit(code)
    return json.loads(asked.json_out.read_text())


def simulated(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Ours against chance on a screen drawn anew for each seed."""
    study = ReplayStudy(
        sources=(SimulationSource(40, 12, options.score),),
        strategies=choose_strategies(options.model, options.acquisition, "random", 1.0),
        batch=Amount.read("1%"),
        initial=Amount.read("1%"),
        rounds=options.rounds or 9,
        seeds=options.seeds,
        score=options.score,
        threshold=Threshold.read(options.threshold),
    )
    watcher = ReplayWatcher(
        round=lambda task, news: print(
            f"{task.name}: round {news.number}, {news.top_found:.2f} found", flush=True
        )
    )
    return run_replays(study, folder, jobs=options.jobs, watcher=watcher)


def markdown(report: Mapping[str, Any]) -> list[str]:
    """A table: a row for each strategy, then what the first gains over the others.

    Forecasts are those of batches after round 3, or of all in a shorter replay.
    """
    lines = [
        "| strategy | top 1 % at 5 % | at 10 % | area | top 5 % at 10 % | hits forecast / found "
        "| inside 90 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, entry in report["strategies"].items():
        summary = entry["summary"]
        five, ten = (summary["budgets"][key] for key in ("5", "10"))
        part = "settled" if summary["calibration"]["settled"]["n"] else "all"
        pooled, inside = summary["calibration"][part], summary["coverage"][part]["90"]
        lines.append(
            f"| {name} | {interval(five and five['top_1'])} | {interval(ten and ten['top_1'])} "
            f"| {interval(summary['area']['top_1'])} | {interval(ten and ten['top_5'])} "
            f"| {pooled['expected']:.0f} / {pooled['found']} | {100 * inside:.0f} |"
        )
    first = next(iter(report["strategies"]))
    for other, tests in report["strategies"][first]["against"].items():
        test = tests["area"]["top_1"]
        if test["n"] > 1:
            lines.append(
                f"{first} minus {other}, area: {interval(test)}, "
                f"{test['wins']} of {test['n']} won, "
                f"p = {test['t']:.4f} (t), {test['sign'] or 1:.4f} (sign)"
            )
    return lines


def interval(found: Mapping[str, Any] | None) -> str:
    """``mean (low to high)``."""
    if found is None or found["mean"] is None:
        return "-"
    if found["low"] is None:
        return f"{found['mean']:.3f}"
    return f"{found['mean']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


if __name__ == "__main__":
    main()
