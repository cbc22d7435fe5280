"""Stanford's PTBTokenizer itself, where Java and the package pycocoevalcap are installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ctfw.errors import MissingPackage, UserError
from ctfw.scoring.ptb import without_punctuation

_JAR = Path("tokenizer") / "stanford-corenlp-3.4.1.jar"
_MAIN = "edu.stanford.nlp.process.PTBTokenizer"


def find_java() -> tuple[str, Path]:
    """Where `java` and the jar are. Raises MissingPackage that says what to install."""
    java = shutil.which("java")
    package = find_spec("pycocoevalcap")
    folders = list(package.submodule_search_locations or ()) if package else []
    jars = [jar for folder in folders if (jar := Path(folder) / _JAR).is_file()]
    if java is None or not jars:
        what = (
            "a Java runtime (`java` on the PATH)" if java is None else "`pip install pycocoevalcap`"
        )
        raise MissingPackage(
            f"protocol coco_ptb with ptb: java needs {what}; or set `ptb: python`, which needs "
            "neither"
        )
    return java, jars[0]


def ptb_java(texts: Sequence[str]) -> list[list[str]]:
    """Tokens of each text by CoreNLP 3.4.1 with the options that coco-caption gives it.

    Raises MissingPackage without Java or jar, UserError when the program fails.
    """
    if not texts:
        return []
    java, jar = find_java()
    lines = [" ".join(text.split()) for text in texts]  # a line of its own for each text
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [java, "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-cp", str(jar)]
        command += [_MAIN, "-preserveLines", "-lowerCase", str(file)]
        done = subprocess.run(command, capture_output=True, check=False)
    found = done.stdout.decode("utf-8").split("\n")
    if done.returncode or len(found) < len(texts):
        raise UserError(
            f"PTBTokenizer gave {len(found)} lines for {len(texts)} texts (exit code "
            f"{done.returncode}): {done.stderr.decode('utf-8', 'replace').strip()[-300:]}; set "
            "`ptb: python` to do without it"
        )
    return [without_punctuation(line.split()) for line in found[: len(texts)]]
