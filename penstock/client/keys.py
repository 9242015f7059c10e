"""Keys of the three kinds of entries that can be read, and the entries themselves."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from penstock.client.arguments import integer, namespace_number, octets
from penstock.client.errors import InvalidOperation
from penstock.contract.limits import KEY_BYTES_MAX
from penstock.v1 import state_pb2

READ_KEYS_MAX = 10_000
"""Keys of one batched read."""


@dataclass(frozen=True, slots=True)
class Key(ABC):
    """Key of an entry. The same bytes as a value's key, a counter's key and an account name three entries."""

    @abstractmethod
    def message(self) -> state_pb2.Key:
        """The key as a message of the contract.

        Raises:
            InvalidOperation: no node would take it.
        """


@dataclass(frozen=True, slots=True)
class ValueKey(Key):
    """The key of a value: 1 to 1,024 bytes."""

    key: bytes
    namespace: int = 0

    def message(self) -> state_pb2.Key:
        """See Key."""
        return state_pb2.Key(namespace=namespace_number(self.namespace), value=_key(self.key))


@dataclass(frozen=True, slots=True)
class CounterKey(Key):
    """The key of a counter: 1 to 1,024 bytes."""

    key: bytes
    namespace: int = 0

    def message(self) -> state_pb2.Key:
        """See Key."""
        return state_pb2.Key(namespace=namespace_number(self.namespace), counter=_key(self.key))


@dataclass(frozen=True, slots=True)
class AccountKey(Key):
    """An account: an integer of 0 to 2^128-1."""

    account: int
    namespace: int = 0

    def message(self) -> state_pb2.Key:
        """See Key."""
        account = integer(self.account, "account", 0, (1 << 128) - 1).to_bytes(16, "little")
        return state_pb2.Key(namespace=namespace_number(self.namespace), account=account)


class Entry(NamedTuple):
    """The state of one key, as of one block."""

    found: bool
    version: int
    """The number in the log of the transaction that last changed it, plus 1; 0 where not found. Cas expects it."""
    value: bytes
    """Of a value, else empty."""
    amount: int
    """A counter's sum or an account's balance, else 0."""
    overdraft: bool
    """Whether an account's balance may go below 0."""
    log_index: int
    """It reflects all blocks up to this one, and none after it."""

    @classmethod
    def of(cls, entry: state_pb2.Entry, log_index: int) -> "Entry":
        """The entry that a node sent."""
        return cls(entry.found, entry.version, entry.value, entry.amount, entry.overdraft, log_index)


def key_message(key: Key) -> state_pb2.Key:
    """The message of whatever was given as a key.

    Raises:
        InvalidOperation: it is no key, or no node would take it.
    """
    if not isinstance(key, Key):
        raise InvalidOperation(f"key must be a Key, not {type(key).__name__}")
    return key.message()


def _key(key: object) -> bytes:
    return octets(key, "key", 1, KEY_BYTES_MAX)
