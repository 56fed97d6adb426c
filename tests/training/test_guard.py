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

from lsgm.training.guard import (
    DivergedError,
    HealthWatch,
    all_below,
    all_finite,
    judge_outcome,
    stop_on_signals,
)


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


def test_block_ends_where_another_process_holds_the_pipe(monkeypatch):
    """As one that was forked within the block does."""
    held, pipe = [], os.pipe

    def inherited():
        ends = pipe()
        held.extend(map(os.dup, ends))
        return ends

    monkeypatch.setattr(os, "pipe", inherited)
    with stop_on_signals():
        pass
    for descriptor in held:
        os.close(descriptor)


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


@pytest.mark.parametrize("bad", [math.nan, math.inf, -11.0, 11.0])
def test_one_number_that_is_too_large_is_found(bad):
    def tree(value):
        return {"a": jnp.ones((2, 3)).at[1, 2].set(value), "b": (jnp.zeros(3),)}

    assert all_below(tree(-10.0), 10.0)
    assert not all_below(tree(bad), 10.0)


def metrics(skipped: bool, **terms: float) -> dict[str, float]:
    return {"skipped": float(skipped), "nelbo": 1.0, **terms}


def look(watch: HealthWatch, steps: list[dict[str, float]]) -> None:
    for step, found in enumerate(steps, start=1):
        watch.look(step, found)


def test_scattered_skips_pass():
    look(HealthWatch(limit=3), [metrics(skipped=s % 3 != 0) for s in range(1, 20)])


def test_streak_of_skips_is_an_error_that_names_its_beginning():
    steps = [metrics(False)] * 5 + [metrics(True, cross_entropy=math.nan)]
    steps += [metrics(True, kl=math.inf)] * 3
    watch = HealthWatch(limit=4)
    look(watch, steps[:5])
    assert watch.healthy
    with pytest.raises(DivergedError) as error:
        look(HealthWatch(limit=4), steps)
    assert "4 updates in a row" in str(error.value)
    assert "since step 6, where cross_entropy = nan." in str(error.value)
    assert error.value.began == 6


@pytest.mark.parametrize(
    "terms, reason",
    [
        ({}, "single gradients were not finite"),
        ({"spoiled_vae": 0.0, "spoiled_prior": 1.0}, "new parameters of prior were"),
    ],
)
def test_reason_of_a_skip_with_finite_terms(terms, reason):
    with pytest.raises(DivergedError, match=reason):
        look(HealthWatch(limit=1), [metrics(True, **terms)])


def test_jump_of_the_bound_counts_as_long_as_it_lasts():
    """A single one, of a heavy-tailed loss, does not."""
    steps = [metrics(False, nelbo=v) for v in (50.0, 501.0, 40.0, 501.0, 1e18)]
    watch = HealthWatch(limit=3, max_jump=10.0)
    look(watch, steps[:3])
    assert watch.healthy
    look(watch, steps)
    assert not watch.healthy
    match = "since step 4, where nelbo = 501, and 50 at the start"
    with pytest.raises(DivergedError, match=match):
        watch.look(6, steps[-1])


def test_prior_without_a_bound_has_no_jumps():
    watch = HealthWatch(limit=1, max_jump=2.0)
    look(watch, [{"skipped": 0.0, "loss_critic": v} for v in (1.0, 1e9)])
    assert watch.healthy


@pytest.mark.parametrize(
    "bounds, held_out, faults",
    [
        ((90.0, 40.0), (41.0,), ()),
        ((30.0, 40.0), (), ("worse than 30 at the start",)),
        ((90.0, math.nan), (40.0,), ("worse than 90 at the start",)),
        ((1e3, 80.0), (80.0, 60.0), ("worse than the 50 of a decoder",)),
        ((1e3, 80.0), (), ("worse than the 50 of a decoder",)),
        ((), (), ()),
    ],
)
def test_outcome_worse_than_the_start_or_than_no_model_is_told(
    bounds, held_out, faults
):
    records = [{"step": 1, "nelbo": v} for v in bounds]
    records += [{"step": 1, "held_out/nelbo": v} for v in held_out]
    found = judge_outcome(records, uniform=50.0)
    assert len(found) == len(faults)
    assert all(fault in text for fault, text in zip(faults, found, strict=True))
    assert not any("decoder" in text for text in judge_outcome(records, None))


def test_requests_are_heard_where_nobody_reads_the_output():
    """Standard output is a pipe that is full, then one that is closed."""
    code = """
    import os, signal, sys, time
    from lsgm.training.guard import stop_on_signals
    read_end, write_end = os.pipe()
    os.dup2(write_end, 1)
    if sys.argv[1] == "closed":
        os.close(read_end)
    else:
        os.set_blocking(1, False)
        while True:
            try:
                os.write(1, b"x" * 4096)
            except BlockingIOError:
                break
        os.set_blocking(1, True)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        while not stop.requested:
            time.sleep(0.01)
        assert stop.signal == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(20)
    """
    for pipe in ("closed", "full"):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), pipe],
            cwd=pathlib.Path(__file__).parents[2],
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            stderr=subprocess.PIPE,
            timeout=120,
        )
        assert done.returncode == 128 + signal.SIGINT, done.stderr
