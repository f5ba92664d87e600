"""What a lab's user holds: a VPC, a subnet, a CVM, an ENI, a group, an ACL, a list, a flow log.

Each is a thin handle: the lab it belongs to and an id. What it shows is read from the cloud's present state, so a
handle is never stale; when its object is gone, using it raises the provider's "not found".
"""

from emulator.resources.base import FlowLog, Loggable, Resource
from emulator.resources.machines import Cvm, Eni, PingResult
from emulator.resources.networks import Subnet, Vpc
from emulator.resources.rules import NetworkAcl, RuleOwner, SecurityGroup
from emulator.resources.templates import Template

__all__ = [
    "Cvm",
    "Eni",
    "FlowLog",
    "Loggable",
    "NetworkAcl",
    "PingResult",
    "Resource",
    "RuleOwner",
    "SecurityGroup",
    "Subnet",
    "Template",
    "Vpc",
]
