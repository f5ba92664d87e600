"""The DNS of a VPC: its CVMs by name and id, and the provider's own services. Nothing else exists."""

from __future__ import annotations

from ipaddress import IPv4Address

from dnslib import PTR, QTYPE, RCODE, RR, A, DNSError, DNSRecord

from emulator.cloud.account import Cloud

TTL_S = 60


def answer(cloud: Cloud, vpc_id: str, asked: bytes) -> bytes | None:
    """The answer to one message; None to what is no question."""
    try:
        question = DNSRecord.parse(asked)
    except DNSError:
        return None
    if question.header.qr or not question.questions:
        return None
    reply = question.reply()
    name = str(question.q.qname).rstrip(".").lower()
    known = _addresses(cloud, vpc_id)
    if QTYPE.get(question.q.qtype) == "PTR":
        found = [one for one, address in known.items() if address.reverse_pointer == name][:1]
        for one in found:
            reply.add_answer(RR(question.q.qname, QTYPE.PTR, rdata=PTR(one), ttl=TTL_S))
        reply.header.rcode = RCODE.NOERROR if found else RCODE.NXDOMAIN
    elif name not in known:
        reply.header.rcode = RCODE.NXDOMAIN
    elif QTYPE.get(question.q.qtype) in ("A", "ANY"):
        reply.add_answer(RR(question.q.qname, QTYPE.A, rdata=A(str(known[name])), ttl=TTL_S))
    return bytes(reply.pack())


def _addresses(cloud: Cloud, vpc_id: str) -> dict[str, IPv4Address]:
    """In lower case; of two CVMs with one name the first has it."""
    known = dict(cloud.profile.services.names)
    for eni in list(cloud.enis.values()):
        cvm = cloud.cvms.get(str(eni.cvm_id))
        if eni.primary and eni.vpc_id == vpc_id and cvm is not None:
            known.setdefault(cvm.name.lower(), eni.address)
            known.setdefault(cvm.id.lower(), eni.address)
    return known
