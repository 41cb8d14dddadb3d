"""The process that reads inputs: one line with a path in, one line with what happened out."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import traceback
from pathlib import Path

PLACE = Path(__file__).resolve().parents[2] / "src"


def main() -> None:
    """Read the inputs whose paths arrive on standard input with the reader named on the command line."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"SUBMILLION_CACHE": f"{home}/cache", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg"}
        os.environ |= {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
        from tests.fuzz import readers

        read = readers.READERS[sys.argv[1]].prepare(Path(home))
        print(json.dumps({"ready": os.getpid()}), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(outcome(read, Path(line.rstrip("\n")))), file=answers, flush=True)


def outcome(read: object, file: Path) -> dict[str, object]:
    """Read one input; return {} if it was read or refused, else the place and the text of the error."""
    from submillion import notices
    from submillion.errors import SubmillionError

    try:
        with notices.collecting(quiet=True):
            read(file)  # type: ignore[operator]
    except SubmillionError as error:
        text = error.render()
        if len(text) > 20_000:
            return {"place": "a message of more than 20,000 characters", "text": text[:2000]}
        return {}
    except BaseException as error:  # noqa: BLE001  # whatever a reader raises is what is looked for
        return {"place": _place(error), "text": traceback.format_exc()[-4000:]}
    return {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def _place(error: BaseException) -> str:
    """Return the error's type and the last line of submillion that it passed."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if str(PLACE) in frame.filename]
    if not frames:
        return f"{type(error).__name__} outside submillion"
    return f"{type(error).__name__} at {Path(frames[-1].filename).relative_to(PLACE)}:{frames[-1].lineno}"


if __name__ == "__main__":
    main()
