"""What a store that takes no results answers to those who would write into it."""

from __future__ import annotations

from typing import NoReturn

from usidx.errors import ReadOnlyStoreError
from usidx.stores.base import ResultRequest


class TakesNoResults:
    """A part of stores that are only read; `refusal` says of which kind they are."""

    @property
    def refusal(self) -> str:
        """Why it takes no results, as a sentence without its end."""
        raise NotImplementedError

    def claim(self, request: ResultRequest, *, durable: bool = False) -> NoReturn:
        """Nothing: such a store takes no results.

        Raises
        ------
        ReadOnlyStoreError : always
        """
        self._refuse()

    def reopen(
        self, group: str, *, durable: bool = False, failures: bool = False, retry: bool = False
    ) -> NoReturn:
        """Nothing: such a store takes no results.

        Raises
        ------
        ReadOnlyStoreError : always
        """
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ReadOnlyStoreError(
            f"{self.refusal}; give run(into='results.zarr') or run(into='results.h5')"
        )
