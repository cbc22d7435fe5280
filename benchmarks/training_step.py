"""Time and memory of a training step of a pair, against the plain way of a Trainer.

`python benchmarks/training_step.py` prints the table for a Qwen2.5-VL of 0.25 billion random
weights on one CPU core; `--write` keeps it. On a GPU: `--device cuda --shape 3b` or `7b`. Each
measurement is a process of its own; the gradients of both ways are compared first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from _one_run import peak_mib

RESULTS = Path(__file__).resolve().parent / "results" / "training_step.md"
NAMES = (
    "plain",
    "ours",
    "ours, negative at its bound",
    "ours, vision frozen and cached",
    "ours, both",
)
LIMIT_S = 1800
EQUAL = {"float32": 1e-5, "bfloat16": 3e-2}
"""Largest relative difference of a gradient; bfloat16 has 8 bits, and sums in another order."""
TARGETS = (
    ("ours", "plain", 1.5),
    ("ours, negative at its bound", "plain", 1.8),
    ("ours, vision frozen and cached", "ours", 1.3),
)
MEMORY_TARGET = 0.55


@dataclass(frozen=True)
class Measured:
    """One step: CPU seconds on a CPU and wall seconds on a GPU; MiB beyond weights and inputs."""

    seconds: float
    mib: float
    operations: float
    positions: int
    parameters: int


def measure(name: str, work: Any, steps: int) -> Measured:
    """The last of `steps` steps, in this process."""
    import torch
    from _step_work import length_of, make, operations, synchronise

    cpu = work.device == "cpu"
    if cpu:
        torch.set_num_threads(1)
    backbone, step = make(work, name)
    parameters = sum(p.numel() for p in backbone.module().parameters())
    base = _begin(cpu)
    clock = time.process_time if cpu else time.perf_counter
    for _ in range(steps):
        backbone.module().zero_grad(set_to_none=True)
        synchronise(work.device)
        begin = clock()
        step()
        synchronise(work.device)
        seconds = clock() - begin
    mib = (peak_mib() if cpu else torch.cuda.max_memory_allocated() / (1 << 20)) - base
    count = operations(backbone, work, name)
    return Measured(seconds, mib, count, 2 * length_of(backbone, work), parameters)


def _begin(cpu: bool) -> float:
    """MiB in use now; the peak is counted from here on."""
    import torch

    if not cpu:
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / (1 << 20)
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    return peak_mib()


def processes(work: dict[str, Any], names: Sequence[str], rounds: int, steps: int) -> Iterator[Any]:
    """(name, Measured or why there is none), every variant once per round, in a random order."""
    rng = random.Random(0)
    for _ in range(rounds):
        for name in rng.sample(list(names), len(names)):
            yield name, _ask(["--one", name, "--steps", str(steps)], work)


def _ask(arguments: list[str], work: dict[str, Any]) -> Any:
    command = [sys.executable, __file__, *arguments, "--work", json.dumps(work)]
    threads = {"OMP_NUM_THREADS": "1"} if work["device"] == "cpu" else {}
    done = subprocess.run(
        command,
        env={**os.environ, **threads},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode:
        return lines[-1][:200] if lines else f"ended with status {done.returncode}"
    return json.loads(done.stdout.splitlines()[-1])


def table(found: dict[str, list[Measured]], failed: dict[str, str], rate: float) -> str:
    """One row per variant; the share is that of the rate of a large matrix product."""
    rows = [
        "| step | s | faster than plain | tokens/s | TFLOP | share of peak | GiB beyond weights "
        "| of plain |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    plain = found.get("plain", [])
    for name in NAMES:
        if name not in found:
            rows.append(f"| {name} | {failed.get(name, 'not run')} | | | | | | |")
            continue
        runs = found[name]
        seconds, mib = (median(getattr(r, key) for r in runs) for key in ("seconds", "mib"))
        faster = f"{ratio(plain, runs, 'seconds'):.2f}" if plain else ""
        memory = f"{ratio(runs, plain, 'mib'):.2f}" if plain else ""
        count = runs[0].operations
        rows.append(
            f"| {name} | {seconds:.2f} | {faster} | {runs[0].positions / seconds:,.0f} "
            f"| {count / 1e12:.2f} | {count / seconds / rate:.0%} | {mib / 1024:.2f} | {memory} |"
        )
    return "\n".join(rows)


def ratio(above: Sequence[Measured], below: Sequence[Measured], key: str) -> float:
    """Median of the ratios inside each round."""
    return median(getattr(a, key) / getattr(b, key) for a, b in zip(above, below, strict=False))


def verdicts(found: dict[str, list[Measured]]) -> str:
    """The targets, and what was reached."""
    lines = []
    for name, other, target in TARGETS:
        if name in found and other in found:
            reached = ratio(found[other], found[name], "seconds")
            lines.append(
                _line(f"{name} against {other}: {reached:.2f}x", reached >= target, target)
            )
    if "ours" in found and "plain" in found:
        reached = ratio(found["ours"], found["plain"], "mib")
        met = reached <= MEMORY_TARGET
        lines.append(_line(f"memory of ours against plain: {reached:.2f}", met, MEMORY_TARGET))
    return "\n".join(lines)


def _line(text: str, met: bool, target: float) -> str:
    return f"- {text} (target {target}: {'met' if met else 'not met'})"


def section(work: dict[str, Any], rounds: int, steps: int) -> str:
    """Everything that is measured for one kind of work, as Markdown."""
    equal = _ask(["--check"], work)
    if isinstance(equal, str):
        raise SystemExit(f"the gradients were not compared: {equal}")
    limit = EQUAL[work["dtype"]]
    for where, error in equal.items():
        if not error <= limit:
            raise SystemExit(f"{where}: gradients differ by {error:.1e}, more than {limit:.0e}")
    rate = _ask(["--rate"], work)
    found: dict[str, list[Measured]] = {}
    failed: dict[str, str] = {}
    for name, answer in processes(work, NAMES, rounds, steps):
        if isinstance(answer, str):
            failed[name] = answer
        else:
            found.setdefault(name, []).append(Measured(**answer))
        print(f"{name}: {answer}", file=sys.stderr, flush=True)
    kind = "CPU seconds" if work["device"] == "cpu" else "seconds"
    size = f"{next(iter(found.values()))[0].parameters / 1e9:.2f} billion" if found else "?"
    recompute = ", activations recomputed" if work["checkpointing"] else ""
    told = ", ".join(f"{where} {error:.1e}" for where, error in equal.items())
    return "\n\n".join(
        [
            f"## {size} weights, {work['dtype']}, {work['device']}{recompute}",
            f"One anchor and one negative, {work['slices']} slices of {work['pixels']} px, "
            f"{work['answer']} answer tokens, vocabulary of 151,936 or more. {kind} of a step "
            f"(forward, loss, backward), median of {rounds} rounds. A large matrix product "
            f"reaches {rate / 1e12:.2f} TFLOP/s here. Largest relative difference of a gradient "
            f"between plain and ours: {told}.",
            table(found, failed, rate),
            verdicts(found),
        ]
    )


def page(sections: Sequence[str], command: str) -> str:
    import torch
    import transformers
    from _step_work import machine

    versions = (
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"transformers {transformers.__version__}"
    )
    return "\n\n".join(
        [
            f"<!-- Made by `{command}` -->",
            "# The step of a pair: measured",
            "`plain`: the positive and the negative as one batch through the stock class, labels "
            "-100 outside the report, all logits, as `compute_loss` of a Trainer would. `ours`: "
            "the step of the stage `finetune`. Memory is the peak beyond weights and inputs, so "
            "gradients are in it. What the rows mean: [README](../README.md).",
            *sections,
            f"{date.today()}, {machine()}, {versions}",
        ]
    )


def one(arguments: argparse.Namespace) -> Any:
    """What a child process is asked for."""
    from _step_work import Work, gradient_errors, product_rate

    work = Work(**json.loads(arguments.work))
    if arguments.check:
        return gradient_errors(work)
    if arguments.rate:
        return product_rate(work.device, work.dtype)
    return asdict(measure(arguments.one, work, arguments.steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--shape", default="0.25b", choices=("0.25b", "3b", "7b"))
    parser.add_argument("--dtype", nargs="+", default=["bfloat16"], choices=tuple(EQUAL))
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="the last one is timed")
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--slices", type=int, default=10)
    parser.add_argument("--answer", type=int, default=250, help="tokens of the report")
    parser.add_argument("--write", action="store_true", help=f"keep the tables in {RESULTS.name}")
    for hidden in ("--one", "--work"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    for hidden in ("--check", "--rate"):
        parser.add_argument(hidden, action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        print(json.dumps(one(arguments)))
        return
    if arguments.device == "cuda" and not _gpu():
        raise SystemExit("torch sees no GPU here: run this on a machine that has one")
    keys = ("device", "shape", "checkpointing", "pixels", "slices", "answer")
    work = {key: getattr(arguments, key) for key in keys}
    every = [
        section({**work, "dtype": dtype}, arguments.rounds, arguments.steps)
        for dtype in arguments.dtype
    ]
    text = page(every, " ".join(["python", "benchmarks/training_step.py", *sys.argv[1:]]))
    print(text)
    if arguments.write:
        RESULTS.write_text(text + "\n", encoding="utf-8")


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    main()
