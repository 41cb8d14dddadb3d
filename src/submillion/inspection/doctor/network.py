"""Examines whether hub and package registry answer, through the clients that downloads use, within a few seconds."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies

from submillion.inspection.doctor.section import Section

TIMEOUT_S = 4.0
"""For one connection."""
DEADLINE_S = 12.0
"""For everything: a name server or a proxy that never answers cannot be interrupted, only left behind."""
PUBLIC_HUB = "huggingface.co"
PUBLIC_REGISTRY = "pypi.org"
PROJECT = "sentence-transformers"
OFFLINE = "Work offline: see docs/air-gapped.md."


def examine_network(
    offline: bool, hub: Callable[[], str] | None = None, registry: Callable[[], str] | None = None
) -> Section:
    """Return whether hub and registry answer; host names other than the public ones are not named.

    Args:
        offline: ask neither.
        hub: returns an empty string if the hub answers, else the reason; None asks the hub.
        registry: likewise.
    """
    section = Section("network")
    section.facts["proxy"] = "set" if getproxies() else "none"
    section.facts["hub"] = hub_host()
    if offline:
        section.facts["asked"] = "no (offline)"
        return section
    answers = _together({"hub": hub or ask_hub, "package registry": registry or ask_registry})
    for name, (reason, seconds) in answers.items():
        place = f"{hub_host()}, " if name == "hub" else ""
        section.facts[name] = place + (reason or f"answers in {seconds:.1f} s")
    if answers["hub"][0]:
        section.trouble(
            "the hub does not answer; encoders and data that are not in a cache cannot be downloaded from it",
            "Check proxy and HF_ENDPOINT, set HF_HUB_OFFLINE=1 to use the caches alone, or name a folder.",
        )
    if answers["package registry"][0]:
        section.trouble(
            "pip cannot reach its package registry; catalog encoders that are not in the cache cannot be downloaded",
            "Check pip's settings (python -m pip config list) and the proxy, or copy the cache folder here.",
        )
    return section


def hub_host() -> str:
    """Return the hub's host if it is the public one."""
    from huggingface_hub import constants

    host = urlsplit(constants.ENDPOINT).hostname
    return PUBLIC_HUB if host == PUBLIC_HUB else "a host that HF_ENDPOINT names"


def ask_hub() -> str:
    """Return an empty string if the hub answers, else the reason; its library applies proxy and certificates."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "not asked: HF_HUB_OFFLINE is set"
    try:
        answer = get_session().head(f"{constants.ENDPOINT}/api/models", timeout=TIMEOUT_S)
    except Exception as error:  # noqa: BLE001 - of whatever HTTP library it uses; only the kind may be named
        return f"no answer ({_kind(error)})"
    return "" if answer.status_code < 500 else f"answers with error {answer.status_code}"


def ask_registry() -> str:
    """Return an empty string if pip finds a project of the catalog in its registry, else the reason."""
    options = ["--no-input", "--disable-pip-version-check", "--retries", "0", "--timeout", f"{TIMEOUT_S:g}"]
    command = [sys.executable, "-P", "-m", "pip", "index", "versions", *options, PROJECT]
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"no answer within {DEADLINE_S:g} s"
        output.seek(0)
        text = output.read().decode(errors="replace")
    if done.returncode == 0:
        return ""
    if "No module named pip" in text:
        return "not asked: pip is not installed"
    if "No matching distribution" in text and "Connection" not in text:
        return "answers, but does not have the packages of the catalog"
    return "no answer"


def _together(questions: Mapping[str, Callable[[], str]]) -> dict[str, tuple[str, float]]:
    """Return the answer to each question and its seconds; one that takes longer than DEADLINE_S has none."""
    started_at = time.monotonic()
    answers: dict[str, tuple[str, float]] = {}

    def ask(name: str) -> None:
        answers[name] = (questions[name](), time.monotonic() - started_at)

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in questions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, started_at + DEADLINE_S + 1 - time.monotonic()))
    missing = (f"no answer within {DEADLINE_S:g} s", DEADLINE_S)
    return {name: answers.get(name, missing) for name in questions}


def _kind(error: BaseException) -> str:
    """Return the kind of a network error in words: its text names hosts."""
    chain, names = error, ""
    while chain is not None:
        names += f" {type(chain).__name__} {chain}"
        chain = chain.__cause__ or chain.__context__  # type: ignore[assignment]
    for sign, words in _KINDS.items():
        if sign in names:
            return words
    return type(error).__name__


_KINDS = {
    "CERTIFICATE_VERIFY": "its certificate is not trusted",
    "Name or service not known": "its name is not known",
    "nodename nor servname": "its name is not known",
    "Temporary failure in name resolution": "its name is not known",
    "getaddrinfo": "its name is not known",
    "Timeout": "no answer in time",
    "refused": "connection refused",
    "unreachable": "network unreachable",
    "Proxy": "the proxy refuses",
}
