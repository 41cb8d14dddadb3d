"""Tests of why a job of a study failed, as the study reports it."""

from __future__ import annotations

from pathlib import Path

from submillion.study.engines.job import Job
from submillion.study.layout import failure


def test_a_killed_process_did_not_fail_by_the_last_line_of_its_log(tmp_path: Path) -> None:
    job = Job("base-seed1", None, tmp_path / "run", tmp_path / "log.txt")
    assert failure(job, 3) == "exit code 3"
    job.log.write_text("note: at most 50 rows of each split are used (data.limit).\n\n", encoding="utf-8")
    assert failure(job, 2).startswith("note: at most 50 rows")
    assert failure(job, -9) == "ended by SIGKILL, perhaps by the system for want of memory"
    assert failure(job, -15) == "ended by SIGTERM"
    assert failure(job, -77) == "ended by signal 77"
