"""Whether a training step fits into the memory of the device, and the readers into the host's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ctfw.component import Block
from ctfw.doctor.finding import Finding, Rows, count, note, ok, problem, warning
from ctfw.doctor.footprint import Footprint, footprint
from ctfw.doctor.lengths import report_tokens
from ctfw.doctor.machine import Device, cores, device_for, devices_wanted, host_memory
from ctfw.progress import size_of

if TYPE_CHECKING:
    from ctfw.doctor.scene import Scene
    from ctfw.model_plan import ModelPlan
    from ctfw.types import Case

ROOM = 0.9
"""Share of the memory that an estimate may fill."""
LARGE = 1_000_000_000
_ADVICE = (
    "a smaller batch_size with more gradient_accumulation, gradient_checkpointing, freeze_vision, "
    "bfloat16, fewer slices or pixels"
)


def check(scene: Scene) -> Iterator[Finding]:
    """The estimate of each stage that trains, beside what there is."""
    plan = scene.plan
    device = device_for(devices_wanted(scene)) if scene.needs_torch else None
    if device is not None:
        yield from _device(scene, device, plan)
    if plan is not None and device is not None:
        yield from _steps(scene, plan, device)
    if plan is not None:
        yield _readers(scene, plan)


def _device(scene: Scene, device: Device, plan: ModelPlan | None) -> Iterator[Finding]:
    wanted = [each for each in devices_wanted(scene) if each.startswith("cuda")]
    build = "" if device.cuda else " (this torch is a build without CUDA)"
    if wanted and not device.gpu:
        text = f"training.device is {wanted[0]!r}, and torch sees no GPU{build}"
        yield problem(text, advice="install a torch build for the GPU, or set it to auto or cpu")
    elif not device.gpu and plan is not None and (plan.parameters or 0) >= LARGE:
        text = f"torch sees no GPU{build}: a model of this size would train on the CPU"
        yield warning(text, advice="run this check again on the machine that will train")
    elif device.gpu and scene.processes > device.gpus:
        text = f"--nproc is {scene.processes}, and torch sees {count(device.gpus, 'GPU')}"
        advice = f"each process needs a GPU of its own: --nproc {device.gpus}"
        yield problem(text, advice=advice, gpus=device.gpus)
    else:
        yield note(f"device: {device.name} with {size_of(device.memory)}", memory=device.memory)


def _steps(scene: Scene, plan: ModelPlan, device: Device) -> Iterator[Finding]:
    """One row per stage, and the verdict on the largest."""
    found: dict[str, Footprint] = {}
    for name, settings in scene.training_stages():
        _, longest = report_tokens(plan, _read_in_training(scene, settings))
        estimate = _of_stage(plan, settings, int(longest.max()), scene.processes)
        if estimate is not None:
            found[name] = estimate
    if not found:
        yield note("the size of the backbone is not known here: no estimate")
        return
    most = max(found.values(), key=lambda each: each.total)
    values: dict[str, Any] = {
        name: {"fixed": part.fixed, "total": part.total} for name, part in found.items()
    }
    sharing = 1 if device.gpu else scene.processes
    each = f" in each of {sharing} processes" if sharing > 1 else ""
    text = f"a training step takes about {size_of(most.total)}{each}"
    if not device.gpu and (plan.parameters or 0) >= LARGE:
        yield note(f"{text}, on one device: no GPU is here to compare with", **values)
    elif sharing * most.fixed > device.memory:
        text = f"weights, gradients and optimizer alone take {size_of(most.fixed)}{each}"
        yield problem(f"{text}; {_has(device)}", advice=_ADVICE, **values)
    elif sharing * most.total > ROOM * device.memory:
        yield warning(f"{text}; {_has(device)}", advice=_ADVICE, **values)
    else:
        yield ok(f"{text}; {_has(device)}", **values)
    yield note("estimate per stage, at the longest report", table=_table(found))
    if most_host := max(each.host for each in found.values()):
        yield _offloaded(most_host)


def _offloaded(host: float) -> Finding:
    """The optimizer in the memory of the host, of all processes of a machine."""
    text = f"the offloaded optimizer takes about {size_of(host)} of host memory in all"
    if host > ROOM * host_memory():
        text += f"; this machine has {size_of(host_memory())}"
        return warning(text, advice="run on more machines, or training.offload=none", host=host)
    return ok(text, host=host)


def _has(device: Device) -> str:
    return f"{device.name} has {size_of(device.memory)}"


def _read_in_training(scene: Scene, settings: Any) -> list[Case]:
    """The training split, and what of the validation split is read."""
    held_out = list(scene.tables.get("validation", ()))[: settings.training.validation_cases]
    return [*scene.tables.get("train", ()), *held_out] or scene.cases


def _of_stage(plan: ModelPlan, settings: Any, longest: int, processes: int) -> Footprint | None:
    """`negatives` that a loss reads and `freeze_vision` count where a stage has them."""
    return footprint(
        plan,
        settings.training,
        pairs=getattr(settings, "negatives", None) is not None and _reads_negatives(settings),
        report_tokens=longest,
        frozen_vision=bool(getattr(settings, "freeze_vision", False)),
        processes=processes,
    )


def _reads_negatives(settings: Any) -> bool:
    """Whether one of the losses does; a stage that names none is taken to."""
    named = (getattr(settings, "loss", None), *getattr(settings, "extra_losses", ()))
    losses = [block.component.load() for block in named if isinstance(block, Block)]
    return not losses or any(getattr(loss, "uses_negative", True) for loss in losses)


def _table(found: dict[str, Footprint]) -> Rows:
    header = ("stage", "weights", "gradients", "optimizer", "activations", "logits", "in all")
    parts = {
        name: (f.weights, f.gradients, f.optimizer, f.activations, f.logits, f.total)
        for name, f in found.items()
    }
    rows = [(name, *map(size_of, sizes)) for name, sizes in parts.items()]
    return (header, *rows)


def _readers(scene: Scene, plan: ModelPlan) -> Finding:
    """Memory of the host for scans: what is being preprocessed, and what is kept."""
    from ctfw.engine.images import MEMORY, TOKEN_MEMORY

    volume, number = scene.first.volume, len(scene.cases)
    kept = min(MEMORY, number * volume.array.nbytes)
    frozen = any(getattr(s, "freeze_vision", False) for _, s in scene.training_stages())
    if frozen and plan.language is not None:
        tokens = plan.visual_tokens * plan.language.width * plan.bytes_per_parameter
        kept += min(TOKEN_MEMORY, number * tokens)
    workers = getattr(scene.recipe.data.settings, "workers", None) or cores()
    source = _whole_scan(scene)
    total = scene.processes * kept + workers * source
    each = f" by each of {scene.processes} processes" if scene.processes > 1 else ""
    text = (
        f"host memory for scans: up to {size_of(kept)} kept{each} while training, and up to "
        f"{size_of(workers * source)} before it ({workers} workers x {size_of(source)}, one scan "
        "as float32)"
    )
    values: dict[str, Any] = {"kept": kept, "workers": workers, "per_worker": source}
    if total > ROOM * host_memory():
        has = f"; the machine has {size_of(host_memory())}"
        return warning(text + has, advice="give the job more memory, or fewer cores", **values)
    return note(text, **values)


def _whole_scan(scene: Scene) -> int:
    """Bytes of the first case's scan as float32."""
    case = scene.first.case
    assert scene.pipeline is not None
    z, y, x = scene.pipeline.slices((case.views or (case.image,))[0], case).shape
    return 4 * z * y * x
