"""The bits that packets and connections carry through the kernel; the only truth the ruleset and the decoder share.

``meta mark`` of a packet, 32 bits, part of the key of every flow table entry::

    31 ..... 28   27 .. 21   20        19            18        17        16       15 ......... 0
    way back      unused     SPILT     FRAGMENTED    PASSED    REJECT    IN       number of the deciding rule

FRAGMENTED is set for datagrams that were put together of fragments (see fragments.py).
SPILT is set only while a packet is kept that the second generation of an ENI's tables had no room for (spill.py).
PASSED is set only while the rules of a long network ACL are asked: one of them has allowed the packet.

The way back is set behind all counting, on replies to what came from the internet: the border by which they leave.

``ct mark`` of a connection: the rule that let it out at its source in bits 15..0, the rule that let it in at its
destination in bits 31..16. A reply leaves where the connection came in, so the halves change places for it.
"""

RULE = 0xFFFF
IN = 0x1_0000
REJECT = 0x2_0000
PASSED = 0x4_0000
FRAGMENTED = 0x8_0000
SPILT = 0x10_0000
WAYS = 15
"""Borders that a mark can tell apart."""
WAY_MASK = 0xF000_0000


def way(number: int) -> int:
    """The bits of a border's number, 1 to WAYS."""
    return number << 28
