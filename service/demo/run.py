"""The demo from beginning to end: lab, service, rounds, report, and everything put away again."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from service.demo.campaign import Player, RoundLog
from service.demo.child import ServiceChild
from service.demo.client import Api
from service.demo.console import Show
from service.demo.labs import DemoError, Lab
from service.demo.oneil import OneilLab
from service.demo.plan import DemoOptions, Plan
from service.demo.report import TOP_SHARE, Truth, know, tally
from service.demo.simulated import SimulatedLab
from service.demo.tables import evidence_table, found_in_words, found_table, percent

_INTERRUPTED = 130


def run_demo(
    options: DemoOptions,
    show: Show | None = None,
    open_lab: Callable[[DemoOptions], Lab] | None = None,
) -> int:
    """Play the demo; returns the exit code, after saying why where it is not 0."""
    show = show or Show()
    try:
        with _ending_in_order():
            _play(options, show, open_lab or _open_lab)
    except DemoError as error:
        show.fail(str(error))
        return 1
    except KeyboardInterrupt:
        show.fail("Interrupted. The service was stopped.")
        return _INTERRUPTED
    return 0


def _play(options: DemoOptions, show: Show, open_lab: Callable[[DemoOptions], Lab]) -> None:
    times = Times()
    with ExitStack() as stack:
        data_dir = _data_dir(options, stack)
        show.title("Nextround demo: measurements in, one posterior learned, the next plates out")
        show.heading("Begin")
        with times.part("lab"), show.step("opening the lab") as step:
            lab = open_lab(options)
            step.result = "lab opened"
            truth = know(lab.true_scores, lab.hit_threshold)
            options.plan.check(len(lab.true_scores))
        _introduce(show, lab, truth, options.plan)
        with times.part("service start"):
            child, api = _start_service(data_dir, options.port, stack, show)
        player = Player(api, lab, options.plan, show)
        show.heading("Set up, over HTTP")
        with times.part("set-up"):
            player.set_up()
        with times.part("rounds"):
            rounds = _play_rounds(player, show)
        _report(player, rounds, truth, show)
        with times.part("stopping"), show.step("stopping the service") as step:
            child.stop()
            step.result = "service stopped"
        show.say(f"Time: {times.in_words()}.")
    _last_word(options, data_dir, show)


def _start_service(
    data_dir: Path, port: int, stack: ExitStack, show: Show
) -> tuple[ServiceChild, Api]:
    with show.step("starting the service") as step:
        child = stack.enter_context(ServiceChild(data_dir, port))
        step.result = f"service ready on {child.url}, data in {data_dir}"
    with show.step("making a key") as step:
        api = stack.enter_context(Api(child.url, child.create_key()))
        step.result = "key made with nextround keys create"
    return child, api


@dataclass
class Times:
    """Seconds by part, in the order of their beginning."""

    _parts: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time of this block to ``name``."""
        began = time.perf_counter()
        yield
        self._parts[name] = self._parts.get(name, 0.0) + time.perf_counter() - began

    def in_words(self) -> str:
        """All parts and their sum."""
        parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self._parts.items())
        return f"{parts}; {sum(self._parts.values()):.1f} s in all"


def _open_lab(options: DemoOptions) -> Lab:
    return SimulatedLab(seed=options.plan.seed) if options.data is None else OneilLab(options.data)


def _introduce(show: Show, lab: Lab, truth: Truth, plan: Plan) -> None:
    n, n_hits = len(truth.scores), len(truth.hits)
    show.say(f"This is {lab.title}.")
    show.say(
        f"A hit is a block with a mean excess over Bliss above {lab.hit_threshold:g} percentage "
        f"points: {n_hits} of {n:,} blocks ({percent(n_hits / n)}), which the service is not told."
    )
    show.say(f"Plan: {plan.n_initial(n)} random blocks, then {plan.rounds} x {plan.batch}.")


def _play_rounds(player: Player, show: Show) -> list[RoundLog]:
    rounds = []
    for number in range(1, player.plan.rounds + 1):
        show.heading(f"Round {number} of {player.plan.rounds}")
        rounds.append(player.play_round(number))
    return rounds


def _report(player: Player, rounds: list[RoundLog], truth: Truth, show: Show) -> None:
    counted = tally(truth, player.initial, [row.blocks for row in rounds])
    show.heading(f"What was found (truth: {player.lab.truth_note})")
    forecast, seconds = [row.forecast_hits for row in rounds], [row.seconds for row in rounds]
    show.table(found_table(counted, forecast, seconds))
    show.say(found_in_words(counted))
    show.say(
        f"Best {percent(TOP_SHARE, 0)}: {len(truth.top)} blocks; the random ones held "
        f"{counted.initial_top} of them. Hits among the random ones: {counted.initial_hits}. "
        f"Forecast: hits that the model expected in its batch. By chance: expected number and "
        f"90 % interval (hypergeometric).",
        "dim",
    )
    if rounds[-1].model is None:
        show.say("The last round had no model: too few blocks were measured.")
        return
    model = player.api.get(rounds[-1].model)
    evidence = model["evidence"]
    show.heading(
        f"How good the last model is, on {evidence['n_held_out']} measured blocks that it did "
        f"not see"
    )
    show.table(evidence_table(evidence))
    show.say(
        "RMSE in percentage points; log density per block, higher is better; 90 % holds: how many "
        "results fell into the interval that should hold nine in ten.",
        "dim",
    )


def _last_word(options: DemoOptions, data_dir: Path, show: Show) -> None:
    show.heading("And now")
    if options.keeps:
        where = f"--data-dir {data_dir}"
        show.say("The campaign is kept. To look at it:")
        show.say_long(f"  nextround serve {where}")
        show.say_long(f"  nextround keys create --name me {where}")
    else:
        show.say("Nothing is left of it; --data-dir FOLDER keeps the campaign to look at.")
    show.say("make serve starts the service for your own data: http://127.0.0.1:8000/docs")


def _data_dir(options: DemoOptions, stack: ExitStack) -> Path:
    """The service's folder, which goes at the end of ``stack`` unless it is kept."""
    folder = options.data_dir
    if folder is not None and folder.exists() and not options.keeps:
        raise DemoError(
            f"{folder} exists, and with --no-keep the demo would delete it at the end. Name a "
            f"folder that does not exist yet, or leave --no-keep out."
        )
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="nextround-demo-"))
    if not options.keeps:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that the service is stopped."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
