"""What a lab's user holds: a VPC, a subnet, a CVM, an ENI, a group, an ACL, a list, a flow log.

Each is a thin handle: the lab it belongs to and an id. What it shows is read from the cloud's present state, so a
handle is never stale; when its object is gone, using it raises the provider's "not found".
"""

from typing import Any

from emulator.cloud import beyond, model
from emulator.resources.addresses import Eip
from emulator.resources.base import Addressed, FlowLog, Loggable, Resource
from emulator.resources.faults import Faults
from emulator.resources.gateways import InternetGateway, NatGateway, RouteTable
from emulator.resources.internet import Internet, InternetHost
from emulator.resources.joins import Ccn, Peering
from emulator.resources.machine import Machine, PingResult
from emulator.resources.machines import Cvm, Eni
from emulator.resources.networks import Subnet, Vpc
from emulator.resources.rules import NetworkAcl, RuleOwner, SecurityGroup
from emulator.resources.templates import Template

__all__ = [
    "HANDLES",
    "Addressed",
    "Ccn",
    "Cvm",
    "Eip",
    "Eni",
    "Faults",
    "FlowLog",
    "Internet",
    "InternetGateway",
    "InternetHost",
    "Loggable",
    "Machine",
    "NatGateway",
    "NetworkAcl",
    "Peering",
    "PingResult",
    "Resource",
    "RouteTable",
    "RuleOwner",
    "SecurityGroup",
    "Subnet",
    "Template",
    "Vpc",
]

HANDLES: dict[type, type[Resource[Any]]] = {
    model.Vpc: Vpc,
    model.Subnet: Subnet,
    model.Cvm: Cvm,
    model.Eni: Eni,
    model.SecurityGroup: SecurityGroup,
    model.NetworkAcl: NetworkAcl,
    model.Template: Template,
    model.FlowLog: FlowLog,
    beyond.RouteTable: RouteTable,
    beyond.Eip: Eip,
    beyond.InternetGateway: InternetGateway,
    beyond.NatGateway: NatGateway,
    beyond.Peering: Peering,
    beyond.Ccn: Ccn,
    beyond.InternetHost: InternetHost,
}
"""The handle for each kind of object of the cloud."""
