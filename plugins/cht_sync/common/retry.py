"""Trying again what may pass: for how long, and with what pauses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import tenacity

from cht_sync.common.log_throttle import Repeated

T = TypeVar("T")
LONGEST_PAUSE = 30.0  # seconds
FEWEST_TRIES = 3
# Of all calls together: a server that is gone fails each of them.
_told = Repeated()


class Logger(Protocol):
    """Whatever takes warnings; Airflow's hooks have a logger of their own kind."""

    def warning(self, message: str, /, *args: object) -> object: ...


def patiently(call: Callable[[], T], worth: Callable[[BaseException], bool], tolerance: float, log: Logger) -> T:
    """Calls again and again, with full-jitter backoff, while failures may pass.

    :param call: what to call; an error may say as ``after`` how many seconds to wait at least, up to the tolerance.
    :param tolerance: seconds after which the last failure is final, though never before the third.
    :param log: where failures are told: the first at once, the same again ever more rarely, with their number.
    :raises BaseException: the last failure, or the first that is not worth another try.
        Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    jitter = tenacity.wait_random_exponential(multiplier=0.25, max=LONGEST_PAUSE)

    def pause(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return max(min(getattr(error, "after", 0.0), tolerance), jitter(state))

    def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0
        counted = _told.count(str(error))
        if counted is not None:
            log.warning("%s Trying again in %.1f s.%s", error, wait, counted)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(worth),
        # One long time-out alone must not use up the patience.
        stop=tenacity.stop_all(tenacity.stop_before_delay(tolerance), tenacity.stop_after_attempt(FEWEST_TRIES)),
        wait=pause,
        before_sleep=tell,
        reraise=True,
    )(call)
