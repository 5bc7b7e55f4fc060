"""What of the machine each replica gets."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from llmsql import backends
from llmsql.backends.base.hosted import Share
from llmsql.errors import BackendError
from llmsql.replicas import shares
from llmsql.torch_models import numbers
from llmsql.types import ModelSpec

Machine = Callable[[int, int], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine of so many cores and GPUs."""

    def be(cores: int, gpus: int) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
        monkeypatch.setattr(numbers, "gpus", lambda: gpus)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)

    return be


def spec(replicas: int, gpus: float = 1, backend: str = "llamacpp", **options: Any) -> ModelSpec:
    made = backends.get(backend).options(**options)
    return ModelSpec(
        name="m", kind="chat", backend=backend, replicas=replicas, gpus=gpus, options=made
    )


def devices(wanted: ModelSpec) -> list[str]:
    return [",".join(share.devices) for share in shares.dealt(wanted)]


def test_cores_are_split(machine: Machine) -> None:
    """Every core belongs to one replica; where there are too few, replicas share them."""
    machine(5, 0)
    assert [share.cores for share in shares.dealt(spec(2))] == [(0, 1), (2, 3, 4)]
    machine(2, 0)
    assert [share.cores for share in shares.dealt(spec(4))] == [(0,), (0,), (1,), (1,)]


def test_threads_are_as_many_as_cores(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries read it from the environment, unless the user says so there, or from an option."""
    machine(8, 0)
    share = shares.dealt(spec(2))[1]
    assert share.environment["OMP_NUM_THREADS"] == "4"
    assert shares.with_threads(spec(2), share).options.n_threads == 4
    assert shares.with_threads(spec(2, n_threads=3), share).options.n_threads == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert "OMP_NUM_THREADS" not in share.environment


def test_one_replica_has_the_whole_machine(machine: Machine) -> None:
    """Nothing is said of cores or GPUs where there is nobody to share with."""
    machine(8, 2)
    assert shares.dealt(spec(1, gpus=2)) == [Share()]
    assert Share().environment == {}


def test_gpus_are_dealt_out(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each replica sees its own GPUs, as whole ones or parts; names are those we see."""
    machine(8, 4)
    assert devices(spec(2)) == ["0", "1"]
    assert devices(spec(2, gpus=2)) == ["0,1", "2,3"]
    assert devices(spec(4, gpus=0.5)) == ["0", "0", "1", "1"]
    assert devices(spec(5, gpus=0.4)) == ["0", "0", "1", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,GPU-5")
    machine_sees = shares._names
    monkeypatch.setattr(numbers, "gpus", lambda: 2)
    assert machine_sees() == ["7", "GPU-5"]
    assert devices(spec(2)) == ["7", "GPU-5"]


def test_who_needs_no_gpu_gets_none(machine: Machine) -> None:
    """On the CPU, without GPUs, or for a backend without devices, nothing is dealt out."""
    machine(8, 1)
    assert devices(spec(3, device="cpu")) == [""] * 3
    assert devices(spec(3, gpus=0)) == [""] * 3
    assert devices(spec(3, backend="echo")) == [""] * 3
    machine(8, 0)
    assert devices(spec(3)) == [""] * 3


def test_too_few_gpus(machine: Machine) -> None:
    """More than there are is refused, with what would fit."""
    machine(8, 3)
    with pytest.raises(BackendError) as error:
        devices(spec(4))
    assert str(error.value) == (
        "Larger num_gpus (4 replicas of 1) than GPUs (3)\n"
        "  set num_gpus='0.5', or a smaller maxConcurrency"
    )
    with pytest.raises(BackendError, match="4 replicas of 1"):
        devices(spec(4))
    assert devices(spec(4, gpus=0.5)) == ["0", "0", "1", "1"]


def test_too_little_of_one_gpu(machine: Machine) -> None:
    """All replicas on the device that is named must fit there, and stay on it."""
    machine(8, 4)
    with pytest.raises(BackendError) as error:
        devices(spec(2, device="cuda:1"))
    assert str(error.value) == (
        'Larger num_gpus (2 replicas of 1) than GPUs (1) on device "cuda:1"\n'
        "  set num_gpus='0.5', or a smaller maxConcurrency"
    )
    assert devices(spec(2, gpus=0.5, device="cuda:1")) == ["", ""]
