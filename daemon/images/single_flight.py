"""A cache in which what many ask for at the same time is made once. Errors are told to them, and not kept."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SingleFlight(Generic[K, T]):
    """Keeps the `most` that were used last. `keep` says of a value whether it may be kept."""

    def __init__(self, most: int, keep: Callable[[T], bool] = lambda _: True) -> None:
        self._most = most
        self._keep = keep
        self._known: OrderedDict[K, T] = OrderedDict()
        self._flights: dict[K, asyncio.Future[T]] = {}

    async def get(self, key: K, make: Callable[[], Awaitable[T]]) -> T:
        """Who waits for another's flight that is cancelled makes it himself."""
        while key not in self._known:
            flight = self._flights.get(key)
            if flight is None:
                return await self._fly(key, make)
            await asyncio.wait([flight])
            if not flight.cancelled():
                return flight.result()
        self._known.move_to_end(key)
        return self._known[key]

    async def _fly(self, key: K, make: Callable[[], Awaitable[T]]) -> T:
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        try:
            value = await make()
        except Exception as error:
            flight.set_exception(error)
            flight.exception()  # retrieved: there may be nobody who waits
            raise
        except BaseException:
            flight.cancel()
            raise
        finally:
            del self._flights[key]
        flight.set_result(value)
        self._remember(key, value)
        return value

    def _remember(self, key: K, value: T) -> None:
        if self._keep(value):
            self._known[key] = value
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, which: Callable[[K], bool]) -> None:
        for key in [key for key in self._known if which(key)]:
            del self._known[key]
