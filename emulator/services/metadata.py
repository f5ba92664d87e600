"""Instance metadata: a tree of paths, each with a fact of the CVM that asks.

Facts: ``cvm_id``, ``name``, ``instance_type``, ``region``, ``account_id``, ``vpc_id``, ``vpc_cidr``, ``subnet_id``,
``subnet_cidr``, ``gateway``, ``netmask``, ``eni_id``, ``mac``, ``address``, ``public_address``, ``dns``.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from emulator.cloud.account import Cloud
from emulator.cloud.model import Eni

ROOT = "/latest/meta-data"


def answer(cloud: Cloud, vpc_id: str, asker: IPv4Address, path: str) -> str | None:
    """What stands at ``path``: a value, or the names in a folder, one a line, folders with a slash; None where nothing
    does."""
    eni = next(
        (eni for eni in list(cloud.enis.values()) if eni.vpc_id == vpc_id and asker in (eni.address, *eni.secondary)),
        None,
    )
    if eni is None or not (path + "/").startswith(ROOT + "/"):
        return None
    tree, wanted = _tree(cloud, eni), path.removeprefix(ROOT).strip("/")
    if wanted in tree:
        return tree[wanted]
    folder = f"{wanted}/" if wanted else ""
    below = [one.removeprefix(folder).partition("/") for one in tree if one.startswith(folder)]
    return "\n".join(dict.fromkeys(name + slash for name, slash, _ in below)) or None


def _tree(cloud: Cloud, asking: Eni) -> dict[str, str]:
    services = cloud.profile.services
    tree = {path: value for path, fact in services.facts.items() if (value := _facts(cloud, asking)[fact])}
    for eni in list(cloud.enis.values()):
        if eni.cvm_id == asking.cvm_id:
            facts = _facts(cloud, eni)
            for path, fact in services.eni_facts.items():
                if facts[fact]:
                    tree[path.format(mac=eni.mac, address=eni.address)] = facts[fact]
    return tree


def _facts(cloud: Cloud, eni: Eni) -> dict[str, str]:
    cvm, subnet, vpc = cloud.cvms[str(eni.cvm_id)], cloud.subnets[eni.subnet_id], cloud.vpcs[eni.vpc_id]
    eip = next((eip for eip in list(cloud.eips.values()) if eip.target_id == eni.id), None)
    return {
        "cvm_id": cvm.id,
        "name": cvm.name,
        "instance_type": cvm.instance_type,
        "region": vpc.region,
        "account_id": cloud.profile.account_id,
        "vpc_id": vpc.id,
        "vpc_cidr": str(vpc.cidr),
        "subnet_id": subnet.id,
        "subnet_cidr": str(subnet.cidr),
        "gateway": str(subnet.gateway),
        "netmask": str(subnet.cidr.netmask),
        "eni_id": eni.id,
        "mac": eni.mac,
        "address": str(eni.address),
        "public_address": "" if eip is None else str(eip.address),
        "dns": "\n".join(map(str, cloud.profile.services.dns)),
    }
