"""How do tests run torch's CUDA code where there is no GPU? On a null device: stand-ins for CUDA, loaded before it.

Device memory is host memory, copies are immediate, and kernels do nothing but are counted by name. All that the host
does is real: allocator, streams, pinned memory, checks of waits, several devices, worker processes, and the code that
Triton and torch.compile make. Values are garbage, but for what was only copied.

    null_cuda.call(function, ...)       runs a function of a test's module in a process on it, and gives its result
    null_cuda.environment(...)          the variables with which any program runs on it

Inside, `tests.null_cuda.counts` tells what was launched, copied and waited for.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE, HOUSE = Path(__file__).parent, Path(__file__).parents[2]


def missing() -> str | None:
    """Why there can be no null device here, in a few words; None where it can be built."""
    import torch

    if not sys.platform.startswith("linux"):
        return "the null device needs Linux"
    if (torch.version.cuda or "").split(".")[0] != "13":
        return f"the null device stands in for CUDA 13, and this torch has {torch.version.cuda or 'none'}"
    if _compiler() is None:
        return "the null device needs a C compiler"
    if len(_headers()) < 3:
        return "the null device needs the headers of CUDA and cuDNN, which torch's wheels bring along"
    return None


class NullDevice:
    """A null device that was built into a folder, and a process on it that has imported the suite."""

    def __init__(self, folder: Path):
        library = folder / "libcuda.so.1"
        sources = sorted(str(path) for path in HERE.glob("*.c"))
        command = [str(_compiler()), "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), *sources]
        includes = [f"-I{each}" for each in _headers()] + ["-idirafter", str(HERE)]
        subprocess.run([*command, *includes, "-Wl,-soname,libcuda.so.1", "-ldl", "-lpthread"], check=True)
        self.variables = {
            "LD_PRELOAD": str(library),
            "TRITON_LIBCUDA_PATH": str(folder),
            "TRITON_CACHE_DIR": str(folder / "triton"),
            "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        }
        code = "from tests.null_cuda import serve; serve()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HOUSE,
            env={**os.environ, **self.variables, "OMP_NUM_THREADS": "1"},
        )

    def environment(
        self, *, devices: int = 1, gib: int = 80, break_file: Path | None = None, zeros: bool = False
    ) -> dict[str, str]:
        """The environment of a program on so many devices of so much memory.

        `break_file` holds a number of launches: the first process that has made so many loses its context. With
        `zeros`, all that is copied from a device is zero.
        """
        settings = {"NULL_CUDA_DEVICES": str(devices), "NULL_CUDA_GIB": str(gib)}
        settings |= {"NULL_CUDA_BREAK": str(break_file)} if break_file else {}
        settings |= {"NULL_CUDA_ZEROS": "1"} if zeros else {}
        return {**os.environ, **self.variables, **settings}

    def call(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        """What a function gives in a process of its own; arguments and result are JSON, settings `environment`'s."""
        order = {
            "module": function.__module__,
            "function": function.__name__,
            "arguments": arguments,
            "environment": self.environment(**settings),
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(order), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        assert "fault" not in answer, answer["fault"]
        return answer["result"]

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def serve() -> None:
    """Import the suite once; then a new process for every line of the input, which answers with one line."""
    import ablation_suite.core.training.finish  # noqa: F401

    for line in sys.stdin:
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            with os.fdopen(writer, "w") as pipe:
                json.dump(_answer(json.loads(line)), pipe)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            answer = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(answer or json.dumps({"fault": f"the process ended with status {status}"}), flush=True)


def _answer(order: dict[str, Any]) -> dict[str, Any]:
    os.dup2(2, 1)  # what is printed must not come between the answers
    os.environ.update(order["environment"])
    try:
        function = getattr(importlib.import_module(order["module"]), order["function"])
        return {"result": function(*order["arguments"])}
    except BaseException:
        return {"fault": traceback.format_exc()}


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def _headers() -> list[Path]:
    """The folders of the headers that are needed, in the wheels that torch brings along, or in a toolkit."""
    import torch

    wheels = Path(torch.__file__).parents[1] / "nvidia"
    toolkit = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    folders = [*wheels.glob("*/include"), toolkit / "include"]
    names = ("cuda.h", "cuda_runtime_api.h", "cudnn_graph.h")
    return list(filter(None, (next((each for each in folders if (each / name).exists()), None) for name in names)))
