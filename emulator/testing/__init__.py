"""Expectations of flow records: what passed on a way, in one line, and where it does not hold, why.

::

    expect(a >> b).icmp().accept(packets=9)
    expect(a >> b).tcp(443).on(b.eni).reject(by=group)
    expect(b >> a).udp().never()
    exactly(expect(a >> b).icmp().accept(packets=9), expect(b >> a).icmp().accept(packets=9))

Its last word checks it: ``accept``, ``reject`` or ``never``; what was not said may have any value. The records are all
that can be found in the topics of the ends' lab, or ``records=``: any list of records, or of dicts with the fields of a
flow log, also those of a real cloud that were read from a file. Where it does not hold, ExpectationFailed tells the
nearest records and what differs in them, the rule behind them, what each ENI counted, and where a capture of it lies.
"""

from emulator.resources.ways import Way
from emulator.testing.counts import Count, at_least, at_most, between
from emulator.testing.expectation import Expectation, ExpectationFailed, Seen, exactly, expect

__all__ = [
    "Count",
    "Expectation",
    "ExpectationFailed",
    "Seen",
    "Way",
    "at_least",
    "at_most",
    "between",
    "exactly",
    "expect",
]
