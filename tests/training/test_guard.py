"""Stopping on request, and stopping where numbers make no sense."""

import math
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import jax
import jax.numpy as jnp
import pytest

from lsgm.training.guard import NonFiniteError, SkipWatch, all_finite, stop_on_signals


def wait_until(condition, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_a_request(number, capfd):
    with stop_on_signals() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert wait_until(lambda: stop.requested)
    assert "once more to stop at once" in capfd.readouterr().out


@pytest.fixture
def interruptible():
    """Python's own handler, which a job started in the background does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_on_signals():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_other_signals_are_no_request():
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert wait_until(lambda: stop.requested)
    signal.signal(signal.SIGUSR1, before)


def test_second_signal_ends_a_process_that_python_cannot_interrupt():
    """A long computation outside Python, such as a compilation, holds back Python's
    own handlers; the second signal must not wait for it."""
    code = """
    import ctypes
    from lsgm.training.guard import stop_on_signals
    with stop_on_signals():
        print("ready", flush=True)
        libc = ctypes.CDLL(None)
        for _ in range(60):
            while left := libc.sleep(left if _ else 60):
                pass
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=pathlib.Path(__file__).parents[2],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "\n"
    assert "stopping" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_number_anywhere_is_found(bad):
    def tree(value):
        return {"a": jnp.ones((2, 3)).at[1, 2].set(value), "b": (jnp.arange(3),)}

    assert jax.jit(all_finite)(tree(1.0))
    assert not jax.jit(all_finite)(tree(bad))


def test_nothing_is_finite():
    assert all_finite({})


def metrics(skipped: bool, **terms: float) -> dict[str, float]:
    return {"skipped": float(skipped), "nelbo": 1.0, **terms}


def test_scattered_skips_pass():
    watch = SkipWatch(limit=3)
    for step in range(1, 20):
        watch.look(step, [metrics(skipped=step % 3 != 0)])


@pytest.mark.parametrize("window", [1, 2, 4, 12])
def test_run_of_skips_is_an_error_that_names_its_beginning(window):
    """However the steps are cut into windows."""
    steps = [metrics(False)] * 5 + [metrics(True, cross_entropy=math.nan)]
    steps += [metrics(True, kl=math.inf)] * 6
    watch = SkipWatch(limit=4)
    with pytest.raises(NonFiniteError) as error:
        for start in range(0, len(steps), window):
            watch.look(start + window, steps[start : start + window])
    assert "4 updates in a row" in str(error.value)
    assert "since step 6, where cross_entropy = nan." in str(error.value)


def test_run_over_the_border_of_two_windows_counts():
    watch = SkipWatch(limit=4)
    watch.look(4, [metrics(False)] + [metrics(True)] * 3)
    with pytest.raises(NonFiniteError, match="since step 2, where single gradients"):
        watch.look(8, [metrics(True)] + [metrics(False)] * 3)
