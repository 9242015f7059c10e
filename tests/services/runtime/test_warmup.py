"""Warm-up loads all that the path needs, so that no first caller waits for the compiler."""

from typing import Any

import pytest

from services.admission import frame_validator
from services.runtime import warmup
from txqueue.jit import kernel_cache


def test_the_path_s_code_is_there_after_loading() -> None:
    warmup.load_kernels()
    publish: Any = frame_validator._validate_and_publish
    assert len(publish.overloads) == 1


def test_compiling_all_says_that_the_cache_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    marked: list[bool] = []
    monkeypatch.setattr(kernel_cache, "mark_complete", lambda: marked.append(True))
    warmup.compile_all()
    assert marked == [True]
