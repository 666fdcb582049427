"""The message of a transaction on its way from the connection to the body, by DATA or by BDAT, piece by piece."""

from __future__ import annotations

from gateway.config.words import LineEnds
from gateway.receive.connection import Connection
from gateway.receive.transaction import Transaction
from gateway.smtp.data import ChunkReader, DataReader, Fault
from gateway.smtp.lineends import MendedChunks, MendedData


class Endless(Exception):
    """Far over the limit: reading to the end, to stay in step, costs too much."""


class Content:
    """Reads one message. The time it may take begins here."""

    def __init__(self, connection: Connection, transaction: Transaction) -> None:
        self.size = 0
        """Octets of the message so far."""
        self.fault: Fault | None = None
        """Why it cannot be taken, if so."""
        self._connection = connection
        self._transaction = transaction
        self._mends = transaction.line_ends is LineEnds.NORMALISE
        self._chunks = ChunkReader(transaction.limit, transaction.received, MendedChunks() if self._mends else None)
        self._until = connection.after(transaction.seconds)
        transaction.open()

    async def read_data(self) -> None:
        """Everything up to the line of one dot. Raises :class:`Endless`, ``TimeoutError`` and ``ConnectionError``."""
        reader = DataReader(self._transaction.limit, self._transaction.received, MendedData() if self._mends else None)
        while reader.rest is None:
            if not self._connection.waiting:
                await self._connection.more(self._until)
            self._transaction.write(reader.feed(self._connection.take()))
            self._note(reader)
        self._connection.put_back(reader.rest)

    async def read_chunk(self, size: int, *, last: bool) -> None:
        """The ``size`` octets of one BDAT. Raises as ``read_data``."""
        if self.size + size > 2 * self._transaction.limit:
            raise Endless
        while size:
            if not self._connection.waiting:
                await self._connection.more(self._until)
            piece = self._connection.take(size)
            size -= len(piece)
            self._transaction.write(self._chunks.feed(piece))
        if last:
            self._transaction.write(self._chunks.finish())
        self._note(self._chunks)

    def _note(self, reader: DataReader | ChunkReader) -> None:
        self.size, fault = reader.size, reader.fault
        if fault and not self.fault:
            self.fault = fault
            self._transaction.discard()
        if self.size > 2 * self._transaction.limit:
            raise Endless


async def skip(connection: Connection, size: int, most: int, seconds: float) -> None:
    """Takes ``size`` octets within ``seconds`` and forgets them. Raises :class:`Endless` beyond ``most``, and as ``read_data``."""
    if size > most:
        raise Endless
    until = connection.after(seconds)
    while size:
        if not connection.waiting:
            await connection.more(until)
        size -= len(connection.take(size))
