"""The device and its reason, whatever the driver does."""

from __future__ import annotations

import subprocess
import sys
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from service.kit.devices import Device, DeviceError, choose_device, probe_device


@pytest.fixture
def cards(monkeypatch):
    """Pretend that this torch is a CUDA build with some cards."""

    def pretend(count: int, available: Any = True) -> None:
        def is_available() -> bool:
            if isinstance(available, str):
                warnings.warn(available, UserWarning, stacklevel=1)
            if isinstance(available, Exception):
                raise available
            return available is True

        properties = SimpleNamespace(name="H200", total_memory=139 * 2**30, uuid="GPU-7")
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "is_available", is_available)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
        real = torch.ones
        monkeypatch.setattr(torch, "ones", lambda *size, device: real(*size))

    return pretend


def test_cpu_is_taken_at_its_word():
    assert choose_device("cpu") == Device("cpu", "the CPU was asked for")


@pytest.mark.parametrize("requested", ["gpu", "cuda:x", "cuda:-1", "", "mps", "cuda:0,1"])
def test_nonsense_is_refused(requested):
    with pytest.raises(DeviceError, match="auto, cpu or cuda:N"):
        choose_device(requested)


def test_auto_takes_the_first_card_and_says_which(cards):
    cards(2)
    device = choose_device("auto")
    assert device == Device("cuda:0", "the first card that works: H200, 139 GiB", "GPU-7")


def test_a_card_by_number(cards):
    cards(2)
    assert choose_device("cuda:1").name == "cuda:1"
    with pytest.raises(DeviceError, match="only 2 cards"):
        choose_device("cuda:2")


def test_old_driver_is_a_reason_not_a_crash(cards):
    cards(0, available="The NVIDIA driver on your system is too old (found version 11040).")
    device = choose_device("auto")
    assert device.name == "cpu"
    assert "too old (found version 11040)" in device.reason
    with pytest.raises(DeviceError, match="too old"):
        choose_device("cuda:0")


def test_broken_driver_is_a_reason_not_a_crash(cards):
    cards(1, available=RuntimeError("CUDA unknown error\nCompile with TORCH_USE_CUDA_DSA"))
    assert choose_device("auto").reason == "no graphics card can be used: CUDA unknown error"


def test_card_whose_first_kernel_fails_is_not_taken(cards, monkeypatch):
    cards(1)

    def fails(*size: int, device: str) -> None:
        raise RuntimeError("no kernel image is available for execution on the device")

    monkeypatch.setattr(torch, "ones", fails)
    assert "no kernel image" in choose_device("auto").reason


def test_torch_built_for_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert "built for the CPU only" in choose_device("auto").reason


@pytest.mark.gpu
def test_real_card():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    assert choose_device("auto").key


def test_a_probe_answers_like_the_choice_and_leaves_torch_outside():
    assert probe_device("auto") == choose_device("auto")
    assert probe_device("cpu") == choose_device("cpu")
    with pytest.raises(DeviceError, match="auto, cpu or cuda:N"):
        probe_device("nonsense")
    script = (
        "import sys; from service.kit.devices import probe_device; "
        "probe_device('auto'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_probe_that_crashes_says_so(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DeviceError, match="could not be examined"):
        probe_device("auto")
