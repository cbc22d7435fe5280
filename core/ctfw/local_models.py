"""Language models from a folder of this machine: safetensors, no remote code, no network."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ctfw.answers import key_of
from ctfw.errors import BadCheckpoint, UserError
from ctfw.paths import cache_dir
from ctfw.progress import track

_READ = (".safetensors", ".json", ".model", ".txt", ".jinja")  # what decides a model's answers
_SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@contextmanager
def offline() -> Iterator[None]:
    """Within it, no library of Hugging Face asks the hub, also those imported long before."""
    held = {name: os.environ.get(name) for name in _SWITCHES}
    os.environ.update(dict.fromkeys(_SWITCHES, "1"))
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        for name, value in held.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def model_folder(folder: Path, setting: str) -> Path:
    """The folder, checked as far as that goes without reading weights.

    setting  how the recipe calls it, for messages
    Raises UserError where there is none, BadCheckpoint where it holds no safetensors.
    """
    found = folder.expanduser()
    if not (found / "config.json").is_file():
        raise UserError(
            f"{setting}: {folder} is no folder with a model (it has no config.json). Nothing is "
            "downloaded here: fetch the model where there is a network, with `hf download NAME "
            "--local-dir FOLDER`"
        )
    if not any(found.glob("*.safetensors")):
        raise BadCheckpoint(
            f"{setting}: {folder} has no weights as safetensors. Pickled ones (.bin, .pt) can run "
            "code and are not read: load them once where you trust them, and save them with "
            "`model.save_pretrained(FOLDER)` of transformers"
        )
    return found


def weights_fingerprint(folder: Path, suffixes: Sequence[str] = _READ) -> str:
    """Hash (16 hex digits) of the weights, the configuration and the tokenizer in a folder.

    suffixes  which files count, where not all of them

    Every byte counts. The hash is remembered by the files' sizes and times, since a model of 7
    billion parameters takes some ten seconds to read.
    """
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in suffixes)
    facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    known = cache_dir() / "weights" / f"{key_of(str(folder.resolve()), facts)}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads(known.read_text("utf-8"))["hash"])
    digest = hashlib.blake2b(digest_size=8)
    for file in track(files, f"reading {folder.name} once for its hash", len(files)):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "blake2b").digest() + file.name.encode())
    found = digest.hexdigest()
    with suppress(OSError):  # a cache that cannot be written costs time only
        known.parent.mkdir(parents=True, exist_ok=True)
        temporary = known.with_name(f"{known.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps({"hash": found}), encoding="utf-8")
        os.replace(temporary, known)
    return found


def reason_of(error: Exception) -> str:
    """The first line of what an error says, or its name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def device_of(wanted: str, setting: str) -> str:
    """`wanted`, with "auto" replaced by what this machine has. Raises UserError."""
    import torch

    there = torch.cuda.is_available()
    if wanted == "auto":
        return "cuda" if there else "cpu"
    if wanted.startswith("cuda") and not there:
        raise UserError(f"{setting} is {wanted!r}, but torch sees no GPU; set it to auto or cpu")
    return wanted


def read_model(
    folder: Path,
    kind: str,
    setting: str,
    dtype: str = "float32",
    device: str = "cpu",
    absent: Sequence[str] = (),
) -> tuple[Any, Any]:
    """(model in evaluation mode, tokenizer) of a local folder.

    kind    class of transformers, e.g. "AutoModelForCausalLM"
    absent  beginnings of names of weights that the folder may lack, e.g. an unused pooler

    Raises UserError or BadCheckpoint, naming the setting and the folder.
    """
    import torch
    import transformers

    path = model_folder(folder, setting)
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    try:
        with offline():
            tokenizer = transformers.AutoTokenizer.from_pretrained(path, **options)
            model, report = getattr(transformers, kind).from_pretrained(
                path,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
    except MemoryError:
        raise
    except Exception as error:  # what the readers raise for damaged files has no common base
        raise BadCheckpoint(f"{setting}: {folder} cannot be loaded: {reason_of(error)}") from error
    missing = [n for n in report["missing_keys"] if not n.startswith(tuple(absent))]
    if missing:
        raise BadCheckpoint(
            f"{setting}: {folder} lacks {len(missing)} weights of a {type(model).__name__}, e.g. "
            f"{missing[0]}: is it another kind of model?"
        )
    return model.eval().to(device), tokenizer
